"""Scores that compare the classes with many words that name none of them."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def neg_label(
    logits_yes: Float[Tensor, "batch classes"],
    logits_negative: Float[Tensor, "batch words"],
    *,
    groups: int = 100,
    seed: int = 0,
    logit_temperature: float = 1.0,
) -> Float[Tensor, " batch"]:
    """What the classes keep of the probability when negative words ask for their share.

    Score = mean over groups G of sum_c exp(l_c / T) / (sum_c exp(l_c / T) + sum_{w in G}
    exp(l_w / T)): the words are shuffled into groups of one size, so that the many do not drown the
    classes. As the authors do, the last words are left out that would not fill another row.

    Source: Jiang et al., "Negative Label Guided OOD Detection with Pretrained Vision-Language
        Models", ICLR 2024: the sum-softmax score with the grouping strategy.

    Args:
        logits_yes: l_c = tau f.g, times the temperature already.
        logits_negative: l_w, those of the words, best first; `mine_words` makes such a list.
        groups: Number of groups, from 1 to the number of words.
        seed: Of the shuffling.
        logit_temperature: T, above 0, of logits and not of cosines.

    Returns:
        From 0 to 1, higher = more in-distribution.

    Raises:
        ValueError: If there are fewer words than groups, or T is not above 0.

    Example:
        >>> neg_label(torch.zeros(1, 3), torch.zeros(1, 10), groups=10).round(decimals=2).tolist()
        [0.75]
    """
    if not logit_temperature > 0:
        raise ValueError(f"logit_temperature must be above 0; got {logit_temperature}.")
    index = group_words(logits_negative.shape[1], groups=groups, seed=seed)
    grouped = logits_negative[:, index.to(logits_negative.device)]
    return mass_of_classes(logits_yes / logit_temperature, grouped / logit_temperature)


def csp(
    logits_yes: Float[Tensor, "batch classes"],
    logits_negative: Float[Tensor, "batch words"],
    *,
    groups: int = 100,
    seed: int = 0,
    logit_temperature: float = 1.0,
) -> Float[Tensor, " batch"]:
    """`neg_label` on a conjugated pool: nouns, and superclasses with an adjective ("white space").

    The formula is that of `neg_label`; what differs is how the words are mined.

    Source: Chen et al., "Conjugated Semantic Pool Improves OOD Detection with Pre-trained
        Vision-Language Models", NeurIPS 2024.

    Arguments, range and errors are those of `neg_label`; the words are `mine_words("csp", ...)`'s.

    Example:
        >>> csp(torch.zeros(1, 3), torch.zeros(1, 10), groups=10).round(decimals=2).tolist()
        [0.75]
    """
    return neg_label(
        logits_yes, logits_negative, groups=groups, seed=seed, logit_temperature=logit_temperature
    )


def group_words(num_words: int, *, groups: int, seed: int) -> Int[Tensor, "groups size"]:
    """Shuffle words into groups of one size: rows of the words, without the last that are over.

    Raises:
        ValueError: If there are fewer words than groups, or no group.
    """
    if not 1 <= groups <= num_words:
        raise ValueError(
            f"groups must lie between 1 and the number of words, {num_words}; got {groups}."
        )
    size = num_words // groups
    order = torch.randperm(groups * size, generator=torch.Generator().manual_seed(seed))
    return order.view(groups, size)


def mass_of_classes(
    logits_yes: Float[Tensor, "batch classes"],
    grouped: Float[Tensor, "batch groups size"],
) -> Float[Tensor, " batch"]:
    """The classes' share of the probability beside each group of words, on average."""
    inside = logits_yes.logsumexp(dim=-1, keepdim=True)
    return torch.sigmoid(inside - grouped.logsumexp(dim=-1)).mean(dim=-1)
