"""The terms of the loss, and their sum.

All embeddings are L2-normalised. Row i of the images, of the captions and of the "no" captions
belong together. Over several ranks each passes the rows of its own pairs and gets its share of the
loss of all: the loss is the mean of the shares, and so is its gradient.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from clipn import distributed
from clipn.losses.matching import PairKeys
from clipn.losses.opposites import Opposites, sum_over_opposites
from clipn.losses.ranking import ranking

TSO_EPSILON = (
    1e-4  # keeps the gradient of the distance finite where a caption and its "no" coincide
)

LossPart = Literal["itbo", "tso", "ranking"]


class ItboLoss(NamedTuple):
    """The two halves of the image-text binary-opposite loss; each a scalar, at least 0."""

    diagonal: Float[Tensor, ""]
    off_diagonal: Float[Tensor, ""]


class ClipnLoss(NamedTuple):
    """The total and its terms, scalars; `ranking` is 0 where it is no part of the total."""

    total: Float[Tensor, ""]
    itbo_diagonal: Float[Tensor, ""]
    itbo_off_diagonal: Float[Tensor, ""]
    tso: Float[Tensor, ""]
    ranking: Float[Tensor, ""]


def itbo(
    image: Float[Tensor, "batch dim"],
    yes: Float[Tensor, "batch dim"],
    no: Float[Tensor, "batch dim"],
    *,
    tau: float | Float[Tensor, ""],
    keys: PairKeys | None = None,
    hardness: float = 0.0,
) -> ItboLoss:
    """Image-text binary-opposite loss: "no" is wrong for the own caption, right for all others.

    With d_ij = tau f_i.(g_j^no - g_j) the probability of "no" is p_ij = sigmoid(d_ij), and

        diagonal = mean_i -log(1 - p_ii),    off_diagonal = mean_i sum_j w_ij -log p_ij

    where w_i is a softmax of hardness * tau f_i.g_j over the captions j opposite to image i:
    a plain mean at hardness 0, as published; at 1 each counts as much as the yes tower takes it for
    the image's own, which is how ATD weighs classes.

    Both logarithms are taken as softplus of d, so that no probability can underflow.

    Every image is compared with every caption, in blocks: see `clipn.losses.opposites`.

    Args:
        image: Image embeddings f.
        yes: Caption embeddings g.
        no: "No" embeddings g^no of the same captions.
        tau: Temperature, exp(logit_scale); 100 for the usual CLIP weights. It is not learned.
        keys: What tells which different pairs belong together all the same (equal captions, equal
            classes); these are no opposites. Without it only a pair's own are none.
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
    direction = no - yes
    total, count = sum_over_opposites(
        image,
        distributed.gather(direction),
        Opposites(
            tau=float(tau),
            first=distributed.rank() * len(image),
            own_keys=keys,
            all_keys=None if keys is None else keys.gather(),
            hardness=hardness,
            yes=distributed.gather(yes.detach()) if hardness else None,
        ),
    )
    # Divided by the mean count, not by this rank's, the shares of all ranks have the right mean.
    mean_count = distributed.total(count).clamp(min=1).to(total.dtype) / distributed.world_size()
    return ItboLoss(
        diagonal=F.softplus(tau * (image * direction).sum(dim=-1)).mean(),
        off_diagonal=total / mean_count,
    )


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
    keys: PairKeys | None = None,
    hardness: float = 0.0,
    parts: Sequence[LossPart] = ("itbo", "tso"),
    seed: int = 0,
) -> ClipnLoss:
    """What CLIPN trains on: 0.5 * (ITBO diagonal + ITBO off-diagonal + TSO).

    On request `ranking`, which is not in the paper, is added to it or stands alone.

    Args:
        image: Image embeddings f.
        yes: Caption embeddings g.
        no: "No" embeddings g^no of the same captions.
        tau: Temperature, exp(logit_scale).
        keys: See `itbo`.
        hardness: See `itbo`; 0 in the paper.
        parts: What the total is made of; "itbo" and "tso" in the paper. These two are measured in
            any case, "ranking" only where it is named.
        seed: Of the draws of `ranking`; the same on every rank.

    Returns:
        The total and its terms.

    Raises:
        ValueError: If the batch is empty.
    """
    binary_opposite = itbo(image, yes, no, tau=tau, keys=keys, hardness=hardness)
    semantic_opposite = tso(yes, no)
    total = 0.5 * (
        ("itbo" in parts) * (binary_opposite.diagonal + binary_opposite.off_diagonal)
        + ("tso" in parts) * semantic_opposite
    )
    ranks = torch.zeros_like(total)
    if "ranking" in parts:
        ranks = ranking(image, yes, no, tau=tau, keys=keys, seed=seed)
    return ClipnLoss(total + ranks, *binary_opposite, semantic_opposite, ranks)
