"""Scores that are fitted on labelled ID images."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from clipn.scores.baselines import energy, msp
from clipn.scores.inputs import ImageBatch, Scorer, Task

CHUNK = 4096  # images whose class probabilities are computed at once


def react(
    image: Float[Tensor, "batch dim"],
    yes: Float[Tensor, "classes dim"],
    *,
    tau: float,
    limit: float,
) -> Float[Tensor, " batch"]:
    """Energy of the logits, after the largest activations of the embedding are cut off.

    Score = log sum_c exp(tau min(f, limit).g_c); the embedding is not normalised again.

    Source: Sun et al., "ReAct: Out-of-distribution Detection With Rectified Activations", NeurIPS
        2021, with the `energy` of the logits.

    Args:
        image: f, L2-normalised.
        yes: g, L2-normalised.
        tau: What a logit is of a cosine, above 0.
        limit: What no value of an embedding may exceed; see `react_limit`.

    Returns:
        Any number, higher = more in-distribution.

    Example:
        >>> image, yes = torch.tensor([[0.6, 0.8]]), torch.tensor([[0.0, 1.0]])
        >>> round(react(image, yes, tau=10.0, limit=0.5).item(), 4)
        5.0
    """
    return energy(tau * image.clamp(max=limit) @ yes.T)


def react_limit(id_image: Float[Tensor, "num_id dim"], *, percentile: float) -> float:
    """The limit of `react`: a percentile of all values of ID embeddings, interpolated linearly.

    Args:
        id_image: Embeddings of ID images, at least one.
        percentile: From 0 to 100.

    Raises:
        ValueError: If `percentile` is out of range, or there is no image.

    Example:
        >>> react_limit(torch.tensor([[0.6, 0.8], [1.0, 0.0]]), percentile=50.0)
        0.7...
    """
    if not 0 <= percentile <= 100:
        raise ValueError(f"percentile must lie between 0 and 100; got {percentile}.")
    if id_image.numel() == 0:
        raise ValueError("id_image must hold at least one embedding; got none.")
    # NumPy knows no bfloat16, and a percentile of float16 would be rounded to it.
    values = id_image.cpu().to(torch.promote_types(id_image.dtype, torch.float32))
    return float(np.percentile(values.numpy(), percentile))


def prepare_react(task: Task, *, percentile: float = 90.0) -> Scorer:
    """Fit the limit of `react` on the task's ID images.

    No percentile is canonical for CLIP: 90 is what the paper takes for its networks.
    """
    assert task.id_image is not None
    limit = react_limit(task.id_image, percentile=percentile)
    yes, tau = task.yes.double(), task.tau

    def score(batch: ImageBatch) -> Float[Tensor, " batch"]:
        """Score images as fitted."""
        return react(batch.image.to(yes), yes, tau=tau, limit=limit)

    return score


@dataclass(frozen=True, kw_only=True)
class LinearProbe:
    """A linear classifier of embeddings: logits = f W^T + b.

    Attributes:
        weight: W.
        bias: b.
    """

    weight: Float[Tensor, "classes dim"]
    bias: Float[Tensor, " classes"]


def fort(
    image: Float[Tensor, "batch dim"],
    weight: Float[Tensor, "classes dim"],
    bias: Float[Tensor, " classes"],
) -> Float[Tensor, " batch"]:
    """Maximum softmax probability of a classifier that was fine-tuned on ID images.

    Score = max_c softmax(f W^T + b)_c with the linear probe of `fit_probe`.

    Source: Fort, Ren & Lakshminarayanan, "Exploring the Limits of Out-of-Distribution Detection",
        NeurIPS 2021, which fine-tunes a vision transformer on the ID set; here the image tower
        stays as it is.

    Args:
        image: f, L2-normalised.
        weight: W.
        bias: b.

    Returns:
        From 1 / classes to 1, higher = more in-distribution.

    Example:
        >>> fort(torch.tensor([[0.6, 0.8]]), torch.zeros(4, 2), torch.zeros(4)).item()
        0.25
    """
    return msp(image @ weight.T + bias)


def fit_probe(
    id_image: Float[Tensor, "num_id dim"],
    id_labels: Int[Tensor, " num_id"],
    yes: Float[Tensor, "classes dim"],
    *,
    tau: float,
    l2: float = 3.16,
    max_steps: int = 30,
) -> LinearProbe:
    """Fine-tune the zero-shot classifier on ID embeddings.

    Minimises sum_i -log softmax(f_i W^T + b)_{y_i} + l2 / 2 (||W - tau G||^2 + ||b||^2) from
    W = tau G, b = 0, where G are the embeddings of the classes: whole-set L-BFGS, so that the same
    images give the same probe. The fewer images a class has, the more it keeps to its text.

    Args:
        id_image: f, L2-normalised.
        id_labels: y, rows of `yes`.
        yes: G, L2-normalised.
        tau: What a logit is of a cosine, above 0.
        l2: Weight of the distance from the zero-shot classifier, above 0; by default that of the
            linear probes of the CLIP paper (Radford et al. 2021, C = 0.316).
        max_steps: Iterations of L-BFGS, at least 1.

    Returns:
        The probe, float64.

    Raises:
        ValueError: If an option is out of range, there is no image, or a label is no row of `yes`.

    Example:
        >>> texts = torch.eye(2, dtype=torch.float64)
        >>> probe = fit_probe(texts, torch.tensor([1, 0]), texts, tau=1.0, l2=0.01)
        >>> (texts @ probe.weight.T + probe.bias).argmax(dim=1).tolist()
        [1, 0]
    """
    if not l2 > 0:
        raise ValueError(f"l2 must be above 0; got {l2}.")
    if max_steps < 1:
        raise ValueError(f"max_steps must be at least 1; got {max_steps}.")
    if len(id_image) == 0:
        raise ValueError("id_image must hold at least one embedding; got none.")
    if not 0 <= int(id_labels.min()) <= int(id_labels.max()) < len(yes):
        raise ValueError(
            f"id_labels must be classes from 0 to {len(yes) - 1}; "
            f"got {int(id_labels.min())} to {int(id_labels.max())}."
        )
    with torch.inference_mode(False), torch.no_grad():
        start = torch.cat([tau * yes.double(), yes.new_zeros(len(yes), 1).double()], dim=1)
        fitted = _minimise(
            start, id_image, id_labels.long(), l2=l2 / len(id_image), max_steps=max_steps
        )
    return LinearProbe(weight=fitted[:, :-1], bias=fitted[:, -1])


def _minimise(
    start: Float[Tensor, "classes width"],
    image: Float[Tensor, "num_id dim"],
    labels: Int[Tensor, " num_id"],
    *,
    l2: float,
    max_steps: int,
) -> Float[Tensor, "classes width"]:
    """L-BFGS on weights and bias side by side, of the mean over the images."""
    parameters = start.clone().requires_grad_()
    optimizer = torch.optim.LBFGS(
        [parameters], max_iter=max_steps, history_size=10, line_search_fn="strong_wolfe"
    )

    def compute_loss() -> Tensor:
        """The penalised loss of all images, its gradient set by hand."""
        with torch.no_grad():
            distance = parameters - start
            loss, gradient = 0.5 * l2 * distance.square().sum(), l2 * distance
            for part, answers in zip(image.split(CHUNK), labels.split(CHUNK), strict=True):
                inputs = torch.cat([part.to(start), start.new_ones(len(part), 1)], dim=1)
                log_p = (inputs @ parameters.T).log_softmax(dim=1)
                answers = answers.to(start.device)
                loss = loss - log_p.gather(1, answers[:, None]).sum() / len(image)
                error = log_p.exp() - F.one_hot(answers, len(start))
                gradient = gradient + error.T @ inputs / len(image)
            parameters.grad = gradient
        return loss

    optimizer.step(compute_loss)
    return parameters.detach()


def prepare_fort(task: Task, *, l2: float = 3.16, max_steps: int = 30) -> Scorer:
    """Fit the probe of `fort` on the task's ID images."""
    assert task.id_image is not None
    assert task.id_labels is not None
    probe = fit_probe(
        task.id_image, task.id_labels, task.yes, tau=task.tau, l2=l2, max_steps=max_steps
    )

    def score(batch: ImageBatch) -> Float[Tensor, " batch"]:
        """Score images as fitted."""
        return fort(batch.image.to(probe.weight), probe.weight, probe.bias)

    return score
