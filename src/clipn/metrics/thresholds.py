"""The threshold that keeps a share of the ID images, and what else it lets in."""

from typing import Literal, get_args

import numpy as np
from jaxtyping import Float

from clipn.metrics.checks import check_choice, finite_scores, num_to_keep
from clipn.metrics.curve import Positive, roc_curve

RocMethod = Literal["step", "interpolated"]


def threshold_at_tpr(id_scores: Float[np.ndarray, " num_id"], *, tpr: float = 0.95) -> float:
    """The highest threshold that keeps (score >= threshold) a share `tpr` of the ID images.

    Args:
        id_scores: Scores of ID images, higher = more in-distribution.
        tpr: Share to keep, in (0, 1].

    Returns:
        One of the scores.

    Raises:
        ValueError: If the scores are empty or not finite, or `tpr` lies outside (0, 1].

    Example:
        >>> threshold_at_tpr(np.array([0.1, 0.2, 0.3, 0.4]), tpr=0.75)
        0.2
    """
    inside = finite_scores("id_scores", id_scores)
    row = inside.size - num_to_keep("tpr", tpr, inside.size)
    return float(np.partition(inside, row)[row])


def fpr_at_tpr(
    id_scores: Float[np.ndarray, " num_id"],
    ood_scores: Float[np.ndarray, " num_ood"],
    *,
    tpr: float = 0.95,
    positive: Positive = "id",
    method: RocMethod = "step",
) -> float:
    """The share of one set taken for the other by the threshold that finds a share `tpr` of that.

    FPR@TPR = min FPR(t) over the thresholds t with TPR(t) >= tpr. At 0.95 it is called FPR95, under
    two conventions whose figures differ widely on the same scores:

    - `positive="id"`: OOD images accepted when 95 % of the ID images are kept (CLIPN, MCM,
      NegLabel);
    - `positive="ood"`: ID images refused when 95 % of the OOD images are refused (OpenOOD,
      pytorch-ood).

    Source: Hendrycks & Gimpel, ICLR 2017; Liang, Li & Srikant, ICLR 2018.

    Args:
        id_scores: Scores of the ID images, higher = more in-distribution.
        ood_scores: Scores of the OOD images.
        tpr: Share of the positive class to find, in (0, 1].
        positive: Which set is found, and which is mistaken for it.
        method: "step" takes a threshold that exists. "interpolated" is only for comparison with
            figures of CLIPN's code: FPR as a piecewise linear function of TPR, and the highest FPR
            where several points have that very TPR (so 1 at `tpr=1`).

    Returns:
        From 0 (perfect) to 1.

    Raises:
        ValueError: If either is empty or not finite, `tpr` lies outside (0, 1], or there is no such
            convention or method.

    Example:
        >>> inside, outside = np.array([2.0, 3.0, 4.0]), np.array([1.0, 2.0, 5.0])
        >>> fpr_at_tpr(inside, outside, tpr=1.0)
        0.6666666666666666
        >>> fpr_at_tpr(inside, outside, tpr=1.0, positive="ood")
        1.0
    """
    check_choice("positive", positive, get_args(Positive))
    check_choice("method", method, get_args(RocMethod))
    inside, outside = finite_scores("id_scores", id_scores), finite_scores("ood_scores", ood_scores)
    if positive == "ood":
        inside, outside = -outside, -inside
    threshold = threshold_at_tpr(inside, tpr=tpr)
    if method == "interpolated":
        curve = roc_curve(inside, outside)
        return float(np.interp(tpr, curve.tpr, curve.fpr))
    return float((outside >= threshold).mean())
