"""The ROC curve as whole numbers, and what is read off it."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float, Int

from clipn.metrics.checks import check_choice, finite_scores, num_to_keep

Positive = Literal["id", "ood"]


@dataclass(frozen=True, kw_only=True, eq=False)
class RocCurve:
    """How many images each threshold keeps, ID and OOD: every metric of two sets follows from it.

    A point is a distinct score t, taken as the threshold: images with score >= t are kept. The
    first point keeps nothing, the last keeps all. Equal scores share a point, so nothing depends on
    their order.

    Attributes:
        thresholds: Falling; the first is infinite.
        id_kept: Number of ID images kept, rising from 0.
        ood_kept: Number of OOD images kept, rising from 0.
    """

    thresholds: Float[np.ndarray, " points"]
    id_kept: Int[np.ndarray, " points"]
    ood_kept: Int[np.ndarray, " points"]

    @property
    def num_id(self) -> int:
        """Number of ID images."""
        return int(self.id_kept[-1])

    @property
    def num_ood(self) -> int:
        """Number of OOD images."""
        return int(self.ood_kept[-1])

    @property
    def tpr(self) -> Float[np.ndarray, " points"]:
        """Share of the ID images kept, from 0 to 1: the true-positive rate, ID positive."""
        return self.id_kept / self.num_id

    @property
    def fpr(self) -> Float[np.ndarray, " points"]:
        """Share of the OOD images kept, from 0 to 1: the false-positive rate, ID positive."""
        return self.ood_kept / self.num_ood

    def auroc(self) -> float:
        """Area under the curve, by trapezoids over whole numbers; see `clipn.metrics.auroc`."""
        twice_the_area = np.dot(np.diff(self.ood_kept), self.id_kept[1:] + self.id_kept[:-1])
        return int(twice_the_area) / (2 * self.num_id * self.num_ood)

    def fpr_at(self, tpr: float, *, positive: Positive = "id") -> float:
        """The other set's share at the threshold that finds `tpr`; see `clipn.metrics.fpr_at_tpr`.

        Raises:
            ValueError: If `tpr` lies outside (0, 1], or there is no such convention.
        """
        check_choice("positive", positive, get_args(Positive))
        if positive == "id":
            num_found = num_to_keep("tpr", tpr, self.num_id)
            point = np.searchsorted(self.id_kept, num_found)
            return int(self.ood_kept[point]) / self.num_ood
        num_left = self.num_ood - num_to_keep("tpr", tpr, self.num_ood)
        point = np.searchsorted(self.ood_kept, num_left, side="right") - 1
        return (self.num_id - int(self.id_kept[point])) / self.num_id

    def average_precision(self, *, positive: Positive = "id") -> float:
        """Mean precision over the images of one set; see `clipn.metrics.aupr`.

        Raises:
            ValueError: If there is no such convention.
        """
        check_choice("positive", positive, get_args(Positive))
        kept = self.id_kept + self.ood_kept
        if positive == "id":
            gained, found, all_found = np.diff(self.id_kept), self.id_kept[1:], kept[1:]
        else:  # each point finds what the point before it does not keep
            gained = np.diff(self.ood_kept)
            found, all_found = self.num_ood - self.ood_kept[:-1], kept[-1] - kept[:-1]
        # A resample may have no image at the outermost points: 0 found of 0, and none gained.
        precision = found / np.maximum(all_found, 1)
        return float(np.dot(gained, precision)) / int(gained.sum())

    def detection_error(self) -> float:
        """Smallest mean of both error rates; see `clipn.metrics.detection_error`."""
        pairs = self.num_id * self.num_ood
        best = int((self.id_kept * self.num_ood - self.ood_kept * self.num_id).max())
        return (pairs - best) / (2 * pairs)


def roc_curve(
    id_scores: Float[np.ndarray, " num_id"], ood_scores: Float[np.ndarray, " num_ood"]
) -> RocCurve:
    """Count what each threshold keeps of the ID and of the OOD images.

    Source: Fawcett, "An introduction to ROC analysis", Pattern Recognition Letters 2006, algorithm
    1; a point for each distinct score, none left out.

    Args:
        id_scores: Scores of the ID images, higher = more in-distribution.
        ood_scores: Scores of the OOD images.

    Returns:
        One point more than there are distinct scores.

    Raises:
        ValueError: If either is empty or holds a NaN or an infinity.

    Example:
        >>> curve = roc_curve(np.array([3.0, 2.0]), np.array([1.0, 2.0]))
        >>> curve.thresholds.tolist(), curve.tpr.tolist(), curve.fpr.tolist()
        ([inf, 3.0, 2.0, 1.0], [0.0, 0.5, 1.0, 1.0], [0.0, 0.0, 0.5, 1.0])
    """
    inside, outside = finite_scores("id_scores", id_scores), finite_scores("ood_scores", ood_scores)
    falling = np.concatenate([inside, outside])
    np.negative(falling, out=falling)
    falling[: inside.size].sort()
    falling[inside.size :].sort()
    # NumPy's stable sort only merges two runs that are in order: cheaper than sorting the whole.
    order = np.argsort(falling, kind="stable")
    falling = falling[order]
    id_kept = np.cumsum(order < inside.size)
    del order  # as large as all scores together
    last = np.append(np.flatnonzero(falling[1:] != falling[:-1]), falling.size - 1)
    id_kept = np.append(0, id_kept[last])
    return RocCurve(
        thresholds=np.append(np.inf, 0.0 - falling[last]),  # 0.0 - x: never a negative zero
        id_kept=id_kept,
        ood_kept=np.append(0, last + 1) - id_kept,
    )
