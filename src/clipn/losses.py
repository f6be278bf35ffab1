"""CLIPN's two losses, as pure functions of embeddings.

Source: Wang et al., "CLIPN for Zero-Shot OOD Detection: Teaching CLIP to Say No", ICCV 2023,
    section 3.3.

All embeddings are L2-normalised. Row i of the images, of the captions and of the "no" captions
belong together.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

TSO_EPSILON = (
    1e-4  # keeps the gradient of the distance finite where a caption and its "no" coincide
)

LossPart = Literal["itbo", "tso"]


class ItboLoss(NamedTuple):
    """The two halves of the image-text binary-opposite loss; each a scalar, at least 0."""

    diagonal: Float[Tensor, ""]
    off_diagonal: Float[Tensor, ""]


class ClipnLoss(NamedTuple):
    """The total and its three terms, scalars."""

    total: Float[Tensor, ""]
    itbo_diagonal: Float[Tensor, ""]
    itbo_off_diagonal: Float[Tensor, ""]
    tso: Float[Tensor, ""]


def itbo(
    image: Float[Tensor, "batch dim"],
    yes: Float[Tensor, "batch dim"],
    no: Float[Tensor, "batch dim"],
    *,
    tau: float | Float[Tensor, ""],
    matches: Bool[Tensor, "batch batch"] | None = None,
    hardness: float = 0.0,
) -> ItboLoss:
    """Image-text binary-opposite loss: "no" is wrong for the own caption, right for all others.

    With d_ij = tau f_i.(g_j^no - g_j) the probability of "no" is p_ij = sigmoid(d_ij), and

        diagonal = mean_i -log(1 - p_ii),    off_diagonal = mean_i sum_j w_ij -log p_ij

    where w_i is a softmax of hardness * tau f_i.g_j over the captions j opposite to image i:
    a plain mean at hardness 0, as published; at 1 each counts as much as the yes tower takes it for
    the image's own, which is how ATD weighs classes.

    Both logarithms are taken as softplus of d, so that no probability can underflow.

    Args:
        image: Image embeddings f.
        yes: Caption embeddings g.
        no: "No" embeddings g^no of the same captions.
        tau: Temperature, exp(logit_scale); 100 for the usual CLIP weights.
        matches: True where image i and caption j belong together though they are different pairs
            (equal captions, equal classes); these are left out. The diagonal is always left out.
        hardness: How much more an opposite caption counts the more it resembles the image; from 0.

    Returns:
        Both halves. `off_diagonal` is 0 where no opposite pair is left.

    Raises:
        ValueError: If the batch is empty.

    Source: ITBO of the paper; weights like those of Robinson et al., "Contrastive Learning with
        Hard Negative Samples", ICLR 2021.

    Example:
        >>> f = torch.eye(2)
        >>> itbo(f, f, -f, tau=100.0).diagonal.item()
        0.0
    """
    if len(image) == 0:
        raise ValueError("itbo needs at least one pair; got an empty batch.")
    no_logits = tau * (image @ (no - yes).T)
    is_opposite = ~torch.eye(len(image), dtype=torch.bool, device=image.device)
    if matches is not None:
        is_opposite &= ~matches
    if hardness:
        likeness = (hardness * tau * image @ yes.T).detach().masked_fill(~is_opposite, -torch.inf)
        # The softmax of a row without opposites is no number, nor would its gradient be.
        weights = likeness.softmax(dim=1).masked_fill(~is_opposite, 0.0)
        weights = weights / is_opposite.any(dim=1).sum().clamp(min=1)
    else:
        weights = is_opposite.to(no_logits.dtype) / is_opposite.sum().clamp(min=1)
    off_diagonal = (weights * F.softplus(-no_logits)).masked_fill(~is_opposite, 0.0).sum()
    return ItboLoss(diagonal=F.softplus(no_logits.diagonal()).mean(), off_diagonal=off_diagonal)


def tso(yes: Float[Tensor, "batch dim"], no: Float[Tensor, "batch dim"]) -> Float[Tensor, ""]:
    """Text semantic-opposite loss: a caption and its "no" must lie far apart.

    TSO = mean_i 2 - ||g_i - g_i^no||, with ||.|| = sqrt(2 - 2 g.g^no + 1e-4).

    Args:
        yes: Caption embeddings g.
        no: "No" embeddings g^no of the same captions.

    Returns:
        A scalar, from about 0 (opposite) to 1.99 (equal).

    Raises:
        ValueError: If the batch is empty.

    Example:
        >>> g = torch.eye(3)
        >>> round(tso(g, g).item(), 2), round(tso(g, -g).item(), 2)
        (1.99, -0.0)
    """
    if len(yes) == 0:
        raise ValueError("tso needs at least one pair; got an empty batch.")
    cosine = (yes * no).sum(dim=-1)
    return (2 - (2 - 2 * cosine + TSO_EPSILON).sqrt()).mean()


def clipn_loss(
    image: Float[Tensor, "batch dim"],
    yes: Float[Tensor, "batch dim"],
    no: Float[Tensor, "batch dim"],
    *,
    tau: float | Float[Tensor, ""],
    matches: Bool[Tensor, "batch batch"] | None = None,
    hardness: float = 0.0,
    parts: Sequence[LossPart] = ("itbo", "tso"),
) -> ClipnLoss:
    """What CLIPN trains on: 0.5 * (ITBO diagonal + ITBO off-diagonal + TSO).

    Args:
        image: Image embeddings f.
        yes: Caption embeddings g.
        no: "No" embeddings g^no of the same captions.
        tau: Temperature, exp(logit_scale).
        matches: See `itbo`.
        hardness: See `itbo`; 0 in the paper.
        parts: What the total is made of; both in the paper. The others are measured all the same.

    Returns:
        The total and its terms.

    Raises:
        ValueError: If the batch is empty.
    """
    binary_opposite = itbo(image, yes, no, tau=tau, matches=matches, hardness=hardness)
    semantic_opposite = tso(yes, no)
    total = 0.5 * (
        ("itbo" in parts) * (binary_opposite.diagonal + binary_opposite.off_diagonal)
        + ("tso" in parts) * semantic_opposite
    )
    return ClipnLoss(total, *binary_opposite, semantic_opposite)


def match_pairs(
    caption_keys: Int[Tensor, " batch"], class_ids: Int[Tensor, " batch"]
) -> Bool[Tensor, "batch batch"]:
    """Find the pairs of a batch that belong together: the same caption, or the same class.

    ITBO takes different pairs for opposites, which captions made from class labels are not.

    Args:
        caption_keys: Equal where captions are equal.
        class_ids: Equal where classes are equal; negative where the class is not known.

    Returns:
        A symmetric matrix, True on its diagonal.

    Example:
        >>> match_pairs(torch.tensor([7, 8, 7]), torch.tensor([-1, -1, -1]))[0].tolist()
        [True, False, True]
    """
    is_same_caption = caption_keys[:, None] == caption_keys[None, :]
    is_same_class = (class_ids[:, None] == class_ids[None, :]) & (class_ids >= 0)[:, None]
    return is_same_caption | is_same_class
