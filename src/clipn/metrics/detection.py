"""How well a score sets in-distribution (ID) images apart from out-of-distribution (OOD) ones.

All are exact under ties and computed in float64 from whole numbers of images.
"""

import numpy as np
from jaxtyping import Float

from clipn.metrics.curve import Positive, roc_curve


def auroc(
    id_scores: Float[np.ndarray, " num_id"], ood_scores: Float[np.ndarray, " num_ood"]
) -> float:
    """Area under the ROC curve: how often ID scores above OOD, ties counting half.

    AUROC = P(s_id > s_ood) + 0.5 P(s_id = s_ood). It is the same whichever set is the positive
    class.

    Source: Hanley & McNeil, "The meaning and use of the area under a receiver operating
    characteristic (ROC) curve", Radiology 1982.

    Args:
        id_scores: Scores of the ID images, higher = more in-distribution.
        ood_scores: Scores of the OOD images.

    Returns:
        From 0 to 1; 0.5 is chance, 1 is perfect.

    Raises:
        ValueError: If either is empty or holds a NaN or an infinity.

    Example:
        >>> auroc(np.array([3.0, 2.0]), np.array([1.0, 2.0]))
        0.875
    """
    return roc_curve(id_scores, ood_scores).auroc()


def aupr(
    id_scores: Float[np.ndarray, " num_id"],
    ood_scores: Float[np.ndarray, " num_ood"],
    *,
    positive: Positive = "id",
) -> float:
    """Area under the precision-recall curve (AUPR-in, AUPR-out), as average precision.

    AP = sum_k (R_k - R_{k-1}) P_k over the distinct thresholds t_k, falling: recall R_k is the
    share of the positive images kept at t_k, precision P_k the share of positives among all kept.

    Average precision and not the trapezoid: precision is no linear function of recall, and a
    straight line between two points promises what no threshold reaches. A constant score on one ID
    and three OOD images has precision 1/4, whatever is asked of it; the trapezoid says 0.625.

    Source: Davis & Goadrich, "The relationship between Precision-Recall and ROC curves", ICML 2006;
    as a measure of OOD detection Hendrycks & Gimpel, ICLR 2017.

    Args:
        id_scores: Scores of the ID images, higher = more in-distribution.
        ood_scores: Scores of the OOD images.
        positive: "id" is AUPR-in; "ood" is AUPR-out, where low scores are found.

    Returns:
        From 0 to 1 (perfect). A constant score has the share of the positive images: figures of
        sets of different sizes cannot be compared.

    Raises:
        ValueError: If either is empty or holds a NaN or an infinity, or there is no such
            convention.

    Example:
        >>> aupr(np.array([1.0]), np.array([1.0, 1.0, 1.0]))
        0.25
        >>> aupr(np.array([1.0]), np.array([1.0, 1.0, 1.0]), positive="ood")
        0.75
    """
    return roc_curve(id_scores, ood_scores).average_precision(positive=positive)


def detection_error(
    id_scores: Float[np.ndarray, " num_id"], ood_scores: Float[np.ndarray, " num_ood"]
) -> float:
    """The smallest mean of both error rates that a threshold can have.

    min_t 0.5 (1 - TPR(t)) + 0.5 FPR(t): ID and OOD images are taken to be equally likely. It is
    the same whichever set is the positive class.

    Source: Lee, Lee, Lee & Shin, "Training confidence-calibrated classifiers for detecting
    out-of-distribution samples", ICLR 2018: 1 - its detection accuracy.

    Args:
        id_scores: Scores of the ID images, higher = more in-distribution.
        ood_scores: Scores of the OOD images.

    Returns:
        From 0 (perfect) to 0.5, which keeping everything has.

    Raises:
        ValueError: If either is empty or holds a NaN or an infinity.

    Example:
        >>> detection_error(np.array([3.0, 2.0]), np.array([1.0, 2.0]))
        0.25
    """
    return roc_curve(id_scores, ood_scores).detection_error()
