"""Thresholds that keep a promise about images not seen yet: split conformal prediction.

If the calibration images and a new ID image were drawn alike, the new one is as likely to take any
place among them. So the share of refused ID images stays below alpha in expectation, over the draw
of both, whatever the distribution and however few the images.

Source: Vovk, Gammerman & Shafer, "Algorithmic Learning in a Random World", Springer 2005.
"""

import math
from fractions import Fraction

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from clipn.metrics.checks import FINEST_SHARE, finite_scores

__all__ = ["conformal_p_values", "conformal_threshold", "num_images_for"]


def conformal_threshold(id_scores: Float[np.ndarray, " num_id"], *, alpha: float = 0.05) -> float:
    """The threshold that refuses (score < threshold) at most a share `alpha` of new ID images.

    The k-th lowest score with k = n + 1 - ceil((n + 1) (1 - alpha)) = floor((n + 1) alpha). Without
    ties the expected share of refused ID images is k / (n + 1), with ties it is lower.

    Args:
        id_scores: Scores of n calibration images, higher = more in-distribution.
        alpha: Share to refuse at most, in (0, 1).

    Returns:
        One of the scores.

    Raises:
        ValueError: If the scores are empty or not finite, `alpha` lies outside (0, 1), or n is
            below 1 / alpha - 1, so that no threshold keeps the promise.

    Example:
        >>> conformal_threshold(np.array([0.1, 0.2, 0.3, 0.4]), alpha=0.4)
        0.2
    """
    inside = finite_scores("id_scores", id_scores)
    if inside.size < (needed := num_images_for(alpha)):
        raise ValueError(
            f"alpha={alpha} takes {needed} images at least, n >= 1 / alpha - 1; got {inside.size}."
        )
    row = math.floor(_exact_share(alpha) * (inside.size + 1)) - 1
    return float(np.partition(inside, row)[row])


def conformal_p_values(
    id_scores: Float[np.ndarray, " num_id"], scores: ArrayLike
) -> Float[np.ndarray, " images"]:
    """How usual each score is among those of ID images: p = (1 + #{i: s_i <= s}) / (n + 1).

    A new ID image has p <= alpha with a probability of alpha at most, for every alpha; p <= alpha
    holds if and only if the score lies below `conformal_threshold`.

    Args:
        id_scores: s_i, scores of n calibration images.
        scores: s, scores of other images.

    Returns:
        From 1 / (n + 1) to 1, lower = less in-distribution.

    Raises:
        ValueError: If `id_scores` are empty or not finite.

    Example:
        >>> conformal_p_values(np.array([0.1, 0.2, 0.3, 0.4]), np.array([0.0, 0.2, 0.9])).tolist()
        [0.2, 0.6, 1.0]
    """
    inside = np.sort(finite_scores("id_scores", id_scores))
    values = np.asarray(scores, dtype=np.float64)
    return (1 + np.searchsorted(inside, values, side="right")) / (inside.size + 1)


def num_images_for(alpha: float) -> int:
    """How many calibration images a promise takes at least: the smallest n >= 1 / alpha - 1.

    Raises:
        ValueError: If `alpha` lies outside (0, 1).

    Example:
        >>> num_images_for(0.05), num_images_for(0.01)
        (19, 99)
    """
    return math.ceil(1 / _exact_share(alpha)) - 1


def _exact_share(alpha: float) -> Fraction:
    """The decimal number that was meant: 0.29 * 100 is a hair below 29 in float64."""
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must lie in (0, 1); got {alpha}.")
    exact = Fraction(alpha).limit_denominator(FINEST_SHARE)
    if exact == 0:
        raise ValueError(f"alpha must be {1 / FINEST_SHARE} at least; got {alpha}.")
    return exact
