"""The score that learns from the stream of images what the negatives look like."""

import math
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from clipn.scores.inputs import ImageBatch, Scorer, Task
from clipn.scores.negatives import group_words, mass_of_classes

BLOCK = 256  # images whose logits are computed at once


def ada_neg(
    image: Float[Tensor, "batch dim"],
    yes: Float[Tensor, "classes dim"],
    negatives: Float[Tensor, "words dim"],
    *,
    tau: float,
    groups: int = 5,
    length: int = 10,
    threshold: float = 0.5,
    gap: float = 0.5,
    static_weight: float = 0.1,
    seed: int = 0,
) -> Float[Tensor, " batch"]:
    """`neg_label` whose labels move towards the images of the stream that seem to be theirs.

    Every label, a class or a word, has a memory that holds the embedding of its text and up to
    `length` - 1 images. Its proxy is the mean of what it holds, L2-normalised. One image after the
    other:

    1. S = `neg_label` of the image with the texts, in `groups` groups.
    2. If S > threshold + gap (1 - threshold), the image is offered to its likeliest class; if
       S < threshold - gap threshold, to its likeliest word. A full memory takes it only if the
       softmax over the classes (over the words) has a lower entropy than the least certain image it
       holds, which it replaces.
    3. S' = `neg_label` of the image with the proxies as they are now; the score is
       (S' + static_weight S) / (1 + static_weight).

    While nothing has been admitted it equals `neg_label` in as many groups. The score of an image
    depends on the images before it and on no later one, so it does not matter in which batches the
    stream comes. (The authors update the memories with a batch of 256 before they score it, leave
    out the division, which changes no ranking, and offer per-image proxies as a variant.)

    Source: Zhang & Zhang, "AdaNeg: Adaptive Negative Proxy Guided OOD Detection with
        Vision-Language Models", NeurIPS 2024, with task-adaptive proxies and the settings of the
        authors' code for ImageNet.

    Args:
        image: The stream, in its order; L2-normalised.
        yes: The classes.
        negatives: Words that name none of them, best first, as for `neg_label`.
        tau: What a logit is of a cosine, above 0.
        groups: Number of groups, from 1 to the number of words.
        length: Size of a memory, its text included, at least 1.
        threshold: The middle of S between ID and OOD, from 0 to 1.
        gap: How far from it S must be, as a share of what is possible, from 0 to 1.
        static_weight: Of the score with the texts, at least 0.
        seed: Of the grouping.

    Returns:
        From 0 to 1, higher = more in-distribution.

    Raises:
        ValueError: If there are fewer words than groups, or an option is out of range.

    Example:
        >>> texts = torch.eye(3, dtype=torch.float64)
        >>> image = torch.tensor([[0.8, 0.6, 0.0], [0.6, 0.0, 0.8]], dtype=torch.float64)
        >>> ada_neg(image, texts[:1], texts[1:], tau=10.0, groups=1).round(decimals=3).tolist()
        [0.962, 0.031]
    """
    memory = AdaptiveMemory(
        yes,
        negatives,
        tau=tau,
        groups=groups,
        length=length,
        threshold=threshold,
        gap=gap,
        static_weight=static_weight,
        seed=seed,
    )
    return memory.score(image)


def prepare_ada_neg(task: Task, **options: Any) -> Scorer:
    """Make `ada_neg`, whose options these are, ready for a stream; no memory holds an image yet."""
    assert task.negatives is not None
    memory = AdaptiveMemory(task.yes, task.negatives, tau=task.tau, **options)

    def score(batch: ImageBatch) -> Float[Tensor, " batch"]:
        """Score the next images of the stream."""
        return memory.score(batch.image)

    return score


class AdaptiveMemory:
    """The memories of all labels, classes first, and the scores that they give; see `ada_neg`."""

    def __init__(
        self,
        yes: Float[Tensor, "classes dim"],
        negatives: Float[Tensor, "words dim"],
        *,
        tau: float,
        groups: int,
        length: int,
        threshold: float,
        gap: float,
        static_weight: float,
        seed: int,
    ) -> None:
        _check_options(length=length, threshold=threshold, gap=gap, static_weight=static_weight)
        self.num_classes, self.tau = len(yes), tau
        self.length, self.static_weight = length, static_weight
        self.admits_id = threshold + gap * (1 - threshold)
        self.admits_ood = threshold - gap * threshold
        # Words stand group by group, so that logits need not be sorted for every image; those that
        # are in no group come last.
        index = group_words(len(negatives), groups=groups, seed=seed).to(negatives.device)
        self.group_shape = tuple(index.shape)
        rest = negatives[index.numel() :]
        self.texts = torch.cat([yes, negatives[index.flatten()], rest]).double()
        # By label, for those that hold an image: the proxy, and each image with its entropy.
        self.proxies: dict[int, Float[Tensor, " dim"]] = {}
        self.held: dict[int, list[tuple[float, Float[Tensor, " dim"]]]] = {}

    @torch.no_grad()
    def score(self, image: Float[Tensor, "batch dim"]) -> Float[Tensor, " batch"]:
        """Score the next images of the stream, and remember those that are admitted."""
        if len(image) == 0:
            return self.texts.new_zeros(0)
        return torch.cat([self._score_block(block.to(self.texts)) for block in image.split(BLOCK)])

    def _score_block(self, image: Float[Tensor, "block dim"]) -> Float[Tensor, " block"]:
        logits = self.tau * image @ self.texts.T
        static = self._mass(logits)
        labels = torch.where(
            static > self.admits_id,
            logits[:, : self.num_classes].argmax(dim=1),
            self.num_classes + logits[:, self.num_classes :].argmax(dim=1),
        )
        is_admitted = (static > self.admits_id) | (static < self.admits_ood)
        rows = is_admitted.nonzero().flatten()
        offers = zip(
            rows.tolist(),
            labels[rows].tolist(),
            self._entropies(logits[rows], labels[rows]).tolist(),
            strict=True,
        )
        # From here on the logits are those with the proxies: as they were before this block ...
        if self.proxies:
            changed = torch.tensor(list(self.proxies), device=logits.device)
            logits[:, changed] = self.tau * image @ torch.stack(list(self.proxies.values())).T
        # ... and, from an image that is taken on, as it leaves them.
        for row, label, entropy in offers:
            if self._offer(label, image[row], entropy):
                logits[row:, label] = self.tau * image[row:] @ self.proxies[label]
        adaptive = self._mass(logits)
        return (adaptive + self.static_weight * static) / (1 + self.static_weight)

    def _mass(self, logits: Float[Tensor, "rows labels"]) -> Float[Tensor, " rows"]:
        num_grouped = math.prod(self.group_shape)
        words = logits[:, self.num_classes : self.num_classes + num_grouped]
        grouped = words.unflatten(1, self.group_shape)
        return mass_of_classes(logits[:, : self.num_classes], grouped)

    def _entropies(
        self, logits: Float[Tensor, "rows labels"], labels: Int[Tensor, " rows"]
    ) -> Float[Tensor, " rows"]:
        """How uncertain each image is which class it shows, or which word if that is its label."""
        inside, outside = logits[:, : self.num_classes], logits[:, self.num_classes :]
        is_class = labels < self.num_classes
        entropies = torch.empty(len(logits), dtype=logits.dtype, device=logits.device)
        for chosen, part in ((is_class, inside), (~is_class, outside)):
            log_p = part[chosen].log_softmax(dim=1)
            entropies[chosen] = -(log_p.exp() * log_p).sum(dim=1)
        return entropies

    def _offer(self, label: int, image: Float[Tensor, " dim"], entropy: float) -> bool:
        """Let a label remember an image, if it is certain enough; whether it was taken."""
        held = self.held.setdefault(label, [])
        if len(held) < self.length - 1:
            held.append((entropy, image.clone()))
        else:
            if not held:
                return False
            worst = max(range(len(held)), key=lambda slot: held[slot][0])
            if entropy >= held[worst][0]:
                return False
            held[worst] = (entropy, image.clone())
        total = torch.stack([self.texts[label], *(embedding for _, embedding in held)]).sum(dim=0)
        self.proxies[label] = total / total.norm()
        return True


def _check_options(*, length: int, threshold: float, gap: float, static_weight: float) -> None:
    if length < 1:
        raise ValueError(f"length must be at least 1; got {length}.")
    for name, value in (("threshold", threshold), ("gap", gap)):
        if not 0 <= value <= 1:
            raise ValueError(f"{name} must lie between 0 and 1; got {value}.")
    if not static_weight >= 0:
        raise ValueError(f"static_weight must be at least 0; got {static_weight}.")
