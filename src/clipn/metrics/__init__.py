"""How good scores are: plain NumPy, float64, exact under ties, ID the positive class.

A higher score means more in-distribution. Everything is a share from 0 to 1, never percent.
"""

from clipn.metrics.bootstrap import (
    bootstrap_difference,
    bootstrap_interval,
    bootstrap_summary,
    bootstrap_summary_difference,
)
from clipn.metrics.calibration import ReliabilityBins, expected_calibration_error, reliability_bins
from clipn.metrics.conformal import conformal_p_values, conformal_threshold, num_images_for
from clipn.metrics.conformal_classes import (
    class_conformal_p_values,
    class_conformal_thresholds,
    classes_that_share,
)
from clipn.metrics.curve import RocCurve, roc_curve
from clipn.metrics.detection import aupr, auroc, detection_error
from clipn.metrics.draws import Interval
from clipn.metrics.open_set import h_score, id_accuracy, open_set_h
from clipn.metrics.selective import area_under_risk_coverage, risk_at_coverage
from clipn.metrics.summary import SUMMARY_METRICS, Summary, SummaryMetric, summarise
from clipn.metrics.thresholds import fpr_at_tpr, threshold_at_tpr

__all__ = [
    "SUMMARY_METRICS",
    "Interval",
    "ReliabilityBins",
    "RocCurve",
    "Summary",
    "SummaryMetric",
    "area_under_risk_coverage",
    "aupr",
    "auroc",
    "bootstrap_difference",
    "bootstrap_interval",
    "bootstrap_summary",
    "bootstrap_summary_difference",
    "class_conformal_p_values",
    "class_conformal_thresholds",
    "classes_that_share",
    "conformal_p_values",
    "conformal_threshold",
    "detection_error",
    "expected_calibration_error",
    "fpr_at_tpr",
    "h_score",
    "id_accuracy",
    "num_images_for",
    "open_set_h",
    "reliability_bins",
    "risk_at_coverage",
    "roc_curve",
    "summarise",
    "threshold_at_tpr",
]
