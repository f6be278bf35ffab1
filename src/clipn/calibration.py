"""Where a detector's threshold is from, and what is promised of it."""

import logging
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Bool, Float, Int

from clipn.errors import DataError, ModelError
from clipn.metrics import (
    class_conformal_p_values,
    class_conformal_thresholds,
    classes_that_share,
    conformal_p_values,
    conformal_threshold,
    num_images_for,
)
from clipn.predictions import Threshold

__all__ = [
    "AnyCalibration",
    "Calibration",
    "CalibrationMethod",
    "ConformalCalibration",
    "calibrate_conformally",
    "calibration_from_json",
    "calibration_to_json",
    "check_method",
    "check_threshold",
    "threshold_from_json",
    "threshold_to_json",
]

log = logging.getLogger(__name__)

CalibrationMethod = Literal["tpr", "conformal"]
"""What a threshold is chosen for: to keep a share of the images at hand, or to keep a promise about
images not seen yet."""


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """A threshold that keeps a share of the images that it was calibrated with.

    Attributes:
        tpr: Share of the ID images that it keeps.
        num_images: How many ID images there were.
    """

    tpr: float
    num_images: int


@dataclass(frozen=True, kw_only=True)
class ConformalCalibration:
    """Thresholds that refuse at most a share of ID images not seen yet, in expectation.

    Attributes:
        alpha: That share.
        scores: Of the ID images that it was calibrated with.
        best: The most likely class of each, where each class has its threshold; None where one
            serves all.
        num_classes: How many classes the detector has.
    """

    alpha: float
    scores: tuple[float, ...]
    best: tuple[int, ...] | None
    num_classes: int

    @property
    def num_images(self) -> int:
        """How many ID images there were."""
        return len(self.scores)

    @cached_property
    def threshold(self) -> Threshold:
        """What a score must reach; one number where it is the same for all classes."""
        scores, best = self._arrays
        if best is None:
            return conformal_threshold(scores, alpha=self.alpha)
        bounds = class_conformal_thresholds(
            scores, best, num_classes=self.num_classes, alpha=self.alpha
        ).tolist()
        return bounds[0] if len(set(bounds)) == 1 else tuple(bounds)

    @cached_property
    def shared_classes(self) -> Bool[np.ndarray, " classes"]:
        """Which classes have too few images for a threshold that is theirs alone."""
        _, best = self._arrays
        if best is None:
            return np.ones(self.num_classes, dtype=bool)
        return classes_that_share(best, num_classes=self.num_classes, alpha=self.alpha)

    def p_values(
        self, scores: Float[np.ndarray, " images"], best: Int[np.ndarray, " images"]
    ) -> Float[np.ndarray, " images"]:
        """How usual scores are among those of ID images; refused are those of at most alpha.

        Args:
            scores: Of other images.
            best: The most likely class of each.
        """
        own, own_best = self._arrays
        if own_best is None:
            return conformal_p_values(own, scores)
        return class_conformal_p_values(
            own, own_best, scores, best, num_classes=self.num_classes, alpha=self.alpha
        )

    @cached_property
    def _arrays(
        self,
    ) -> tuple[Float[np.ndarray, " images"], Int[np.ndarray, " images"] | None]:
        """Scores and classes of the ID images; of tuples arrays are made slowly."""
        return np.array(self.scores), None if self.best is None else np.array(self.best)


AnyCalibration = Calibration | ConformalCalibration
"""Where a threshold is from."""


def calibrate_conformally(
    scores: Float[np.ndarray, " images"],
    best: Int[np.ndarray, " images"] | None,
    *,
    class_names: Sequence[str],
    alpha: float,
) -> ConformalCalibration:
    """A conformal calibration; what it cannot promise for some classes is logged.

    Args:
        scores: Of ID images.
        best: The most likely class of each, for a threshold of each class; None for one threshold.
        class_names: The detector's classes.
        alpha: Share of ID images to refuse at most.

    Raises:
        DataError: If there are too few images for any threshold to keep the promise.
    """
    if scores.size < (needed := num_images_for(alpha)):
        raise DataError(
            f"No threshold from {scores.size} images can promise to refuse at most "
            f"{alpha:.3g} of new ones: that takes {needed} at least (1 / alpha - 1). Take "
            f"more, or an alpha of 1/{scores.size + 1} or above."
        )
    calibration = ConformalCalibration(
        alpha=alpha,
        scores=tuple(scores.tolist()),
        best=None if best is None else tuple(best.tolist()),
        num_classes=len(class_names),
    )
    sharing = np.flatnonzero(calibration.shared_classes)
    if best is not None and sharing.size:
        log.warning(
            "%d of %d classes share a threshold, since fewer than %d images were taken for "
            "each: %s%s. The promise holds among their images together.",
            sharing.size,
            len(class_names),
            needed,
            ", ".join(repr(class_names[row]) for row in sharing[:8]),
            " and more" if sharing.size > 8 else "",
        )
    return calibration


def check_method(method: CalibrationMethod, *, tpr: float | None, alpha: float | None) -> None:
    """Refuse what is out of range, and an option of the method that was not asked for.

    Raises:
        ValueError: If there is any.
    """
    if method not in get_args(CalibrationMethod):
        raise ValueError(f"method must be 'tpr' or 'conformal'; got {method!r}.")
    for option, value in (("tpr", tpr), ("alpha", alpha)):
        if value is not None and (method == "conformal") != (option == "alpha"):
            raise ValueError(
                f"{option} belongs to the other method; method={method!r} takes "
                f"{'alpha' if method == 'conformal' else 'tpr'}."
            )
    if tpr is not None and not 0 < tpr <= 1:
        raise ValueError(f"tpr must lie in (0, 1]; got {tpr}.")
    if alpha is not None:
        num_images_for(alpha)


def calibration_to_json(calibration: AnyCalibration | None) -> dict[str, Any] | None:
    """A calibration as plain JSON."""
    return None if calibration is None else asdict(calibration)


def calibration_from_json(
    values: dict[str, Any] | None, *, num_classes: int, what: str
) -> AnyCalibration | None:
    """Read what `calibration_to_json` gave.

    Args:
        values: From JSON.
        num_classes: How many classes there are.
        what: What it belongs to, for messages.

    Raises:
        ModelError: If it is damaged.
    """
    if values is None:
        return None
    try:
        if "alpha" not in values:
            return Calibration(**values)
        best = values["best"]
        calibration = ConformalCalibration(
            alpha=float(values["alpha"]),
            scores=tuple(map(float, values["scores"])),
            best=None if best is None else tuple(map(int, best)),
            num_classes=int(values["num_classes"]),
        )
        if calibration.num_classes != num_classes:
            raise ValueError(f"{calibration.num_classes} classes, of which there are {num_classes}")
        _check_best(calibration)
        check_threshold(calibration.threshold, num_classes=calibration.num_classes)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ModelError(f"The calibration of {what} is damaged: {error!r}") from error
    return calibration


def _check_best(calibration: ConformalCalibration) -> None:
    """Refuse classes that there are not, or not one for each score."""
    best = calibration.best
    if best is None:
        return
    if len(best) != calibration.num_images:
        raise ValueError(f"{len(best)} classes of {calibration.num_images} scores")
    if not all(0 <= row < calibration.num_classes for row in best):
        raise ValueError(f"a class beyond the {calibration.num_classes} that there are")


def threshold_to_json(threshold: Threshold | None) -> float | list[float] | None:
    """A threshold as a number or a list."""
    return list(threshold) if isinstance(threshold, tuple) else threshold


def threshold_from_json(value: float | list[float] | None) -> Threshold | None:
    """A threshold, of which JSON makes a number or a list."""
    return tuple(value) if isinstance(value, list) else value


def check_threshold(threshold: Threshold | None, *, num_classes: int) -> None:
    """Refuse a threshold that is no number, or not one for each class.

    Raises:
        ValueError: If it is not.
    """
    if threshold is None:
        return
    bounds = threshold if isinstance(threshold, tuple) else (threshold,)
    if not all(map(math.isfinite, bounds)):
        raise ValueError(f"threshold must be a finite number; got {threshold}.")
    if isinstance(threshold, tuple) and len(threshold) != num_classes:
        raise ValueError(
            f"threshold must be one number, or one for each of the {num_classes} classes; got "
            f"{len(threshold)}."
        )
