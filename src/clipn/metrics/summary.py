"""Every figure of a pair of sets, from one sort."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from clipn.metrics.curve import RocCurve, roc_curve

SummaryMetric = Literal[
    "auroc", "fpr95", "fpr95_ood_positive", "aupr_in", "aupr_out", "detection_error"
]

SUMMARY_METRICS: dict[SummaryMetric, Callable[[RocCurve], float]] = {
    "auroc": RocCurve.auroc,
    "fpr95": lambda curve: curve.fpr_at(0.95),
    "fpr95_ood_positive": lambda curve: curve.fpr_at(0.95, positive="ood"),
    "aupr_in": RocCurve.average_precision,
    "aupr_out": lambda curve: curve.average_precision(positive="ood"),
    "detection_error": RocCurve.detection_error,
}


@dataclass(frozen=True, kw_only=True)
class Summary:
    """How well a score sets one ID set apart from one OOD set; shares, not percent.

    Attributes:
        auroc: See `clipn.metrics.auroc`; higher is better.
        fpr95: OOD images accepted when 95 % of the ID images are kept; lower is better.
        fpr95_ood_positive: ID images refused when 95 % of the OOD images are; lower is better.
        aupr_in: Average precision, ID positive; higher is better.
        aupr_out: Average precision, OOD positive; higher is better.
        detection_error: Smallest mean of both error rates; lower is better.
    """

    auroc: float
    fpr95: float
    fpr95_ood_positive: float
    aupr_in: float
    aupr_out: float
    detection_error: float


def summarise(
    id_scores: Float[np.ndarray, " num_id"], ood_scores: Float[np.ndarray, " num_ood"]
) -> Summary:
    """All metrics of two sets of scores, each what its own function gives.

    Each set is sorted once, whatever the number of metrics: ten million scores take seconds.

    Args:
        id_scores: Scores of the ID images, higher = more in-distribution.
        ood_scores: Scores of the OOD images.

    Returns:
        Shares from 0 to 1.

    Raises:
        ValueError: If either is empty or holds a NaN or an infinity.

    Example:
        >>> summary = summarise(np.array([3.0, 2.0]), np.array([1.0, 2.0]))
        >>> summary.auroc, summary.fpr95, summary.detection_error
        (0.875, 0.5, 0.25)
    """
    curve = roc_curve(id_scores, ood_scores)
    return Summary(**{name: metric(curve) for name, metric in SUMMARY_METRICS.items()})
