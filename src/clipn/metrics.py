"""How well a score sets in-distribution (ID) images apart from out-of-distribution (OOD) ones.

ID is the positive class, and a higher score means more in-distribution.
"""

import math

import numpy as np
from jaxtyping import Float


def _check_scores(name: str, scores: Float[np.ndarray, " any"]) -> Float[np.ndarray, " any"]:
    """The scores in float64, or an error that names them."""
    checked = np.asarray(scores, dtype=np.float64)
    if checked.size == 0:
        raise ValueError(f"{name} must hold at least one score; got none.")
    if not np.isfinite(checked).all():
        num_bad = int((~np.isfinite(checked)).sum())
        raise ValueError(f"{name} must be finite; got {num_bad} of {checked.size} that are not.")
    return checked


def auroc(
    id_scores: Float[np.ndarray, " num_id"], ood_scores: Float[np.ndarray, " num_ood"]
) -> float:
    """Area under the ROC curve: how often ID scores above OOD, ties counting half.

    AUROC = P(s_id > s_ood) + 0.5 P(s_id = s_ood), exact under ties.

    Args:
        id_scores: Scores of the ID images.
        ood_scores: Scores of the OOD images.

    Returns:
        From 0 to 1; 0.5 is chance, 1 is perfect.

    Raises:
        ValueError: If either is empty or holds a NaN or an infinity.

    Example:
        >>> auroc(np.array([3.0, 2.0]), np.array([1.0, 2.0]))
        0.875
    """
    inside, outside = _check_scores("id_scores", id_scores), _check_scores("ood_scores", ood_scores)
    outside = np.sort(outside)
    num_below = np.searchsorted(outside, inside, side="left")
    num_not_above = np.searchsorted(outside, inside, side="right")
    num_wins = int(num_below.sum()) + int(num_not_above.sum())  # each pair counted twice
    return num_wins / (2 * inside.size * outside.size)


def threshold_at_tpr(id_scores: Float[np.ndarray, " num_id"], *, tpr: float = 0.95) -> float:
    """The highest threshold that keeps (score >= threshold) a share `tpr` of the ID images.

    Args:
        id_scores: Scores of ID images.
        tpr: Share to keep, in (0, 1].

    Returns:
        One of the scores.

    Raises:
        ValueError: If the scores are empty or not finite, or `tpr` lies outside (0, 1].

    Example:
        >>> threshold_at_tpr(np.array([0.1, 0.2, 0.3, 0.4]), tpr=0.75)
        0.2
    """
    if not 0 < tpr <= 1:
        raise ValueError(f"tpr must lie in (0, 1]; got {tpr}.")
    inside = np.sort(_check_scores("id_scores", id_scores))
    # A product such as 0.95 * 20 may come out a hair above the whole number that it stands for.
    num_kept = max(1, math.ceil(round(tpr * inside.size, 9)))
    return float(inside[inside.size - num_kept])


def fpr_at_tpr(
    id_scores: Float[np.ndarray, " num_id"],
    ood_scores: Float[np.ndarray, " num_ood"],
    *,
    tpr: float = 0.95,
) -> float:
    """The share of OOD images accepted by the threshold that keeps a share `tpr` of the ID images.

    This is FPR95 with ID as the positive class (the convention of CLIPN, MCM and NegLabel): the
    smallest FPR among the thresholds whose TPR is at least `tpr`, nothing interpolated.

    Args:
        id_scores: Scores of the ID images.
        ood_scores: Scores of the OOD images.
        tpr: Share of ID images to keep, in (0, 1].

    Returns:
        From 0 (perfect) to 1.

    Raises:
        ValueError: If either is empty or not finite, or `tpr` lies outside (0, 1].

    Example:
        >>> fpr_at_tpr(np.array([2.0, 3.0, 4.0]), np.array([1.0, 2.0, 5.0]), tpr=1.0)
        0.6666666666666666
    """
    threshold = threshold_at_tpr(id_scores, tpr=tpr)
    return float((_check_scores("ood_scores", ood_scores) >= threshold).mean())
