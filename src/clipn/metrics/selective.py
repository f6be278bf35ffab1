"""How often a classifier errs if it may leave out the images that it is least sure of."""

import numpy as np
from jaxtyping import Bool, Float

from clipn.metrics.checks import check_same_length, finite_scores, flags, num_to_keep


def _mean_errors(
    correct: Bool[np.ndarray, " images"], confidence: Float[np.ndarray, " images"]
) -> tuple[Float[np.ndarray, " points"], Float[np.ndarray, " points"]]:
    """The number of images at or above each distinct confidence, falling from none, and of errors.

    Between two points, some of equally confident images are answered: drawn at random, they bring
    their share of the errors, so the mean number of errors is linear there.
    """
    correct = flags("correct", correct)
    confidence = finite_scores("confidence", confidence)
    check_same_length(correct=correct, confidence=confidence)
    _, group = np.unique(-confidence, return_inverse=True)
    answered = np.append(0, np.cumsum(np.bincount(group)))
    errors = np.append(0, np.cumsum(np.bincount(group, weights=~correct)))
    return answered.astype(np.float64), errors.astype(np.float64)


def risk_at_coverage(
    correct: Bool[np.ndarray, " images"],
    confidence: Float[np.ndarray, " images"],
    *,
    coverage: float = 0.8,
) -> float:
    """Selective risk: the share of errors among the most confident images.

    risk(c) = (1 / k) sum_{i <= k} error_i over the images by falling confidence, k the smallest
    whole number of at least c times as many as there are. Of equally confident images at the border
    any may be among the k: the mean over their orders is taken.

    Source: El-Yaniv & Wiener, "On the foundations of noise-free selective classification", JMLR
    2010.

    Args:
        correct: Whether each image's answer is right.
        confidence: Higher = more sure; any range. A score will do.
        coverage: c, the share of images to be answered, in (0, 1].

    Returns:
        From 0 (perfect) to 1; 1 - accuracy at a coverage of 1.

    Raises:
        ValueError: If there are none, the lengths differ, a confidence is not finite, or `coverage`
            lies outside (0, 1].
        TypeError: If `correct` holds anything but truth values.

    Example:
        >>> correct = np.array([True, False, True, False])
        >>> risk_at_coverage(correct, np.array([0.9, 0.8, 0.7, 0.6]), coverage=0.5)
        0.5
    """
    answered, errors = _mean_errors(correct, confidence)
    num_answered = num_to_keep("coverage", coverage, len(correct))
    return float(np.interp(num_answered, answered, errors)) / num_answered


def area_under_risk_coverage(
    correct: Bool[np.ndarray, " images"], confidence: Float[np.ndarray, " images"]
) -> float:
    """AURC: the mean of `risk_at_coverage` over the coverages 1/n, 2/n, ..., 1 of n images.

    Source: Geifman, Uziel & El-Yaniv, "Bias-reduced uncertainty estimation for deep neural
    classifiers", ICLR 2019.

    Args:
        correct: Whether each image's answer is right.
        confidence: Higher = more sure; any range. A score will do.

    Returns:
        From 0 (perfect) to 1. A constant confidence has 1 - accuracy.

    Raises:
        ValueError: If there are none, the lengths differ, or a confidence is not finite.
        TypeError: If `correct` holds anything but truth values.

    Example:
        >>> area_under_risk_coverage(np.array([True, False]), np.array([0.9, 0.8]))
        0.25
    """
    answered, errors = _mean_errors(correct, confidence)
    num_answered = np.arange(1, len(correct) + 1)
    return float((np.interp(num_answered, answered, errors) / num_answered).mean())
