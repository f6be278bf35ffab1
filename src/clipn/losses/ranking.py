"""Ranking by ATD: images of the classes that are asked for above those of all other classes.

ITBO asks each caption alone whether an image is its own. ATD, the score that the answers make
together, is then only as good as its weakest class. Here the score itself is taught: some captions
of a batch are taken for the classes that somebody knows, and the images of those captions must
score above the images of the others, whichever captions were taken. This term is not in the paper.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from clipn import distributed
from clipn.losses.matching import PairKeys, match_pairs

NUM_VOCABULARIES = 4
# Of the logistic loss on pairs: the higher, the more only pairs in the wrong order count.
SHARPNESS = 2.0
# Between known and unknown images the logit lies near this, held by a square of this weight. Ranks
# alone leave it free, and "no" then drifts to where whole vocabularies are accepted or refused.
MIDDLE, MIDDLE_WEIGHT = 2.0, 0.03
# At least so many known captions, and at most half of all, or of a large class set.
MIN_KNOWN, MAX_KNOWN = 3, 1000
# Images a side that are compared with each other, so that memory does not grow with the square.
MAX_COMPARED = 512


def ranking(
    image: Float[Tensor, "batch dim"],
    yes: Float[Tensor, "batch dim"],
    no: Float[Tensor, "batch dim"],
    *,
    tau: float | Float[Tensor, ""],
    keys: PairKeys | None = None,
    seed: int = 0,
) -> Float[Tensor, ""]:
    """How often ATD ranks an image of an unknown caption above one of a known caption, softened.

    With z the logit of ATD over a vocabulary drawn from the batch's captions,

        ranking = mean_V [mean_{i in V, j not in V} softplus(2 (z_j - z_i)) / 2 + 0.03 (m_V - 2)^2]

    over four vocabularies V, each of 3 captions up to half of them. The first term is the logistic
    upper bound of 1 - AUROC, up to a factor. Only differences of z count there; the second term
    holds the middle m_V between the mean z of both sides, so that ATD stays a probability that one
    threshold fits.

    Args:
        image: Image embeddings f.
        yes: Caption embeddings g.
        no: "No" embeddings g^no of the same captions.
        tau: Temperature, exp(logit_scale).
        keys: What tells which different pairs belong together (equal captions, equal classes): they
            are known together. Without it every pair stands alone.
        seed: Of the draws; the same on every rank.

    Returns:
        A scalar, at least 0; 0 where there are fewer than 2 * 3 different captions.

    Source: the logistic loss on pairs is that of Burges et al., "Learning to Rank using Gradient
        Descent", ICML 2005.

    Example:
        >>> f = torch.eye(8)
        >>> ranking(f, f, -f, tau=5.0).item() < ranking(f, f, f, tau=5.0).item()
        True
    """
    if keys is None:
        alone = distributed.rank() * len(image) + torch.arange(len(image), device=image.device)
        keys = PairKeys(alone, torch.full_like(alone, -1))
    all_keys, all_yes, all_no = keys.gather(), distributed.gather(yes), distributed.gather(no)
    different = _first_of_each(all_keys)
    if len(different) < 2 * MIN_KNOWN:
        return 0.0 * no.sum()
    generator = torch.Generator().manual_seed(seed)
    terms = []
    for _ in range(NUM_VOCABULARIES):
        known = _draw_known(different, generator)
        logits = _atd_logits(image, all_yes[known], all_no[known], tau=tau)
        is_known = match_pairs(all_keys, all_keys.part(known)).any(dim=1)
        scores = distributed.gather(logits)
        above = scores[_draw(is_known.nonzero()[:, 0], MAX_COMPARED, generator)]
        below = scores[_draw((~is_known).nonzero()[:, 0], MAX_COMPARED, generator)]
        terms.append(_disorder(above, below))
    return torch.stack(terms).mean()


def _disorder(
    above: Float[Tensor, " known"], below: Float[Tensor, " unknown"]
) -> Float[Tensor, ""]:
    """How far the logits are from lying above and below the middle."""
    pairs = F.softplus(SHARPNESS * (below[None, :] - above[:, None])).mean() / SHARPNESS
    middle = (above.mean() + below.mean()) / 2
    return pairs + MIDDLE_WEIGHT * (middle - MIDDLE).square()


def _atd_logits(
    image: Float[Tensor, "batch dim"],
    yes: Float[Tensor, "known dim"],
    no: Float[Tensor, "known dim"],
    *,
    tau: float | Float[Tensor, ""],
) -> Float[Tensor, " batch"]:
    """log(ATD / (1 - ATD)), without ever taking a probability that could round to 0 or 1."""
    logits_yes = tau * image @ yes.T
    against_no = logits_yes - tau * image @ no.T
    shares = logits_yes.log_softmax(dim=1)
    known = (shares + F.logsigmoid(against_no)).logsumexp(dim=1)
    unknown = (shares + F.logsigmoid(-against_no)).logsumexp(dim=1)
    return known - unknown


def _first_of_each(keys: PairKeys) -> Int[Tensor, " captions"]:
    """The first pair of each class, and of each caption that has no class."""
    has_class = keys.classes >= 0
    names = torch.stack([keys.classes, keys.captions.masked_fill(has_class, 0)])
    _, group = names.unique(dim=1, return_inverse=True)
    first = torch.full((int(group.max()) + 1,), len(group), device=group.device)
    rows = torch.arange(len(group), device=group.device)
    return first.scatter_reduce(0, group, rows, reduce="amin")


def _draw_known(
    different: Int[Tensor, " captions"], generator: torch.Generator
) -> Int[Tensor, " known"]:
    """Draw a vocabulary of some size."""
    most = min(len(different) // 2, MAX_KNOWN)
    size = int(torch.randint(MIN_KNOWN, most + 1, (), generator=generator))
    return _draw(different, size, generator)


def _draw(
    rows: Int[Tensor, " rows"], num: int, generator: torch.Generator
) -> Int[Tensor, " drawn"]:
    """Draw up to so many of the rows, none of them twice."""
    chosen = torch.randperm(len(rows), generator=generator)[:num]
    return rows[chosen.to(rows.device)]
