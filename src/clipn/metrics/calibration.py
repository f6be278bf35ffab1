"""Whether a confidence is the share of answers that are right."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Bool, Float, Int

from clipn.metrics.checks import check_choice, check_same_length, finite_scores, flags

Binning = Literal["equal_width", "equal_mass"]


@dataclass(frozen=True, kw_only=True, eq=False)
class ReliabilityBins:
    """Images grouped by their score, those bins only that hold an image; by rising score.

    Attributes:
        low: Lower edge of each bin, exclusive but for the first.
        high: Upper edge, inclusive.
        num_images: How many images it holds, at least 1.
        mean_score: Their mean score.
        share_correct: The share of them that are answered right.
    """

    low: Float[np.ndarray, " bins"]
    high: Float[np.ndarray, " bins"]
    num_images: Int[np.ndarray, " bins"]
    mean_score: Float[np.ndarray, " bins"]
    share_correct: Float[np.ndarray, " bins"]


def reliability_bins(
    correct: Bool[np.ndarray, " images"],
    scores: Float[np.ndarray, " images"],
    *,
    num_bins: int = 15,
    binning: Binning = "equal_width",
) -> ReliabilityBins:
    """The share of right answers among images of similar score, for a reliability diagram.

    Source: Niculescu-Mizil & Caruana, "Predicting good probabilities with supervised learning",
    ICML 2005.

    Args:
        correct: Whether each image's answer is right.
        scores: Higher = more sure. For "equal_width" they lie in [0, 1].
        num_bins: How many bins there are at most.
        binning: "equal_width" cuts [0, 1] evenly; "equal_mass" cuts at quantiles of the scores, so
            that bins hold equally many, and takes scores of any range. Equal scores share a bin.

    Returns:
        The bins that hold an image.

    Raises:
        ValueError: If there are none, the lengths differ, a score is not finite or out of its
            range, `num_bins` is below 1, or there is no such binning.
        TypeError: If `correct` holds anything but truth values.

    Example:
        >>> bins = reliability_bins(
        ...     np.array([True, False, True]), np.array([0.1, 0.2, 0.9]), num_bins=2
        ... )
        >>> bins.num_images.tolist(), bins.share_correct.tolist()
        ([2, 1], [0.5, 1.0])
    """
    check_choice("binning", binning, get_args(Binning))
    correct, scores = flags("correct", correct), finite_scores("scores", scores)
    check_same_length(correct=correct, scores=scores)
    if num_bins < 1:
        raise ValueError(f"num_bins must be at least 1; got {num_bins}.")
    if binning == "equal_width":
        _check_unit_range("scores", scores, hint='; take binning="equal_mass" for other scores')
        edges = np.linspace(0.0, 1.0, num_bins + 1)
    else:
        edges = np.quantile(scores, np.linspace(0.0, 1.0, num_bins + 1))
    of_image = np.searchsorted(edges[1:-1], scores)
    num_images = np.bincount(of_image, minlength=num_bins)
    held = np.flatnonzero(num_images)
    return ReliabilityBins(
        low=edges[held],
        high=edges[held + 1],
        num_images=num_images[held],
        mean_score=np.bincount(of_image, weights=scores)[held] / num_images[held],
        share_correct=np.bincount(of_image, weights=correct)[held] / num_images[held],
    )


def expected_calibration_error(
    correct: Bool[np.ndarray, " images"],
    confidence: Float[np.ndarray, " images"],
    *,
    num_bins: int = 15,
    binning: Binning = "equal_width",
) -> float:
    """ECE: how far a confidence is, on average, from the share of right answers.

    ECE = sum_b (n_b / n) |share_correct_b - mean_confidence_b| over the bins of `reliability_bins`.

    Source: Naeini, Cooper & Hauskrecht, "Obtaining well calibrated probabilities using Bayesian
    binning", AAAI 2015; 15 bins of equal width as in Guo et al., ICML 2017.

    Args:
        correct: Whether each image's answer is right.
        confidence: The claimed probability of that, in [0, 1].
        num_bins: How many bins there are at most.
        binning: See `reliability_bins`.

    Returns:
        From 0 (calibrated) to 1.

    Raises:
        ValueError: If there are none, the lengths differ, a confidence lies outside [0, 1], or
            `num_bins` is below 1.
        TypeError: If `correct` holds anything but truth values.

    Example:
        >>> expected_calibration_error(np.array([True, False]), np.array([0.75, 0.75]))
        0.25
    """
    _check_unit_range("confidence", finite_scores("confidence", confidence))
    bins = reliability_bins(correct, confidence, num_bins=num_bins, binning=binning)
    gaps = np.abs(bins.share_correct - bins.mean_score)
    return float(np.average(gaps, weights=bins.num_images))


def _check_unit_range(name: str, scores: Float[np.ndarray, " images"], *, hint: str = "") -> None:
    low, high = float(scores.min()), float(scores.max())
    if low < 0 or high > 1:
        raise ValueError(f"{name} must lie in [0, 1]; got {low} to {high}{hint}.")
