"""What every detector does with images, whatever computes the scores."""

import logging
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args, overload

import numpy as np
from jaxtyping import Bool, Float, Int
from PIL import Image

from clipn.calibration import AnyCalibration, Calibration, ConformalCalibration
from clipn.data.image_batches import LoadedBatch, load_batches
from clipn.data.images import Decoding, ImageSource, TensorLike, min_side_of
from clipn.errors import DataError, NotCalibratedError
from clipn.metrics import num_images_for, threshold_at_tpr
from clipn.predictions import (
    NONE_OF_THESE,
    Prediction,
    Predictions,
    Rule,
    Threshold,
    describe_threshold,
)

log = logging.getLogger(__name__)

MIN_CALIBRATION_IMAGES = 20  # below that, a share of 95 % is not even one image


CalibrationMethod = Literal["tpr", "conformal"]
"""What a threshold is chosen for: to keep a share of the images at hand, or to keep a promise about
images not seen yet."""


class Answers(NamedTuple):
    """A batch of readable images: all (batch,)."""

    scores: Float[np.ndarray, " batch"]
    best: Int[np.ndarray, " batch"]
    refused: Bool[np.ndarray, " batch"] | None


class ImageDetector(ABC):
    """Reads images, answers for them and finds thresholds; knows neither model nor runtime.

    Attributes:
        score_name: Which score is taken.
        rule: What decides; None until a score without a rule of its own is calibrated.
        threshold: Of the rule "threshold"; see `clipn.predictions.Threshold`.
        calibration: Where the threshold is from, if `calibrate` made it.
        batch_size: Images embedded at once.
        num_workers: Threads that read images.
        decoding: How JPEG files are decoded; may be changed at any time.
    """

    score_name: str
    rule: Rule | None
    threshold: Threshold | None
    calibration: AnyCalibration | None
    batch_size: int
    num_workers: int
    decoding: Decoding

    @property
    @abstractmethod
    def class_names(self) -> tuple[str, ...]:
        """The classes, in the order of the logits' columns."""

    @property
    @abstractmethod
    def image_size(self) -> tuple[int, int]:
        """Height and width of what the image tower sees, in pixels."""

    @abstractmethod
    def preprocess(self, image: Image.Image) -> Any:
        """Normalised pixels of an RGB image, (3, height, width); called from several threads."""

    @abstractmethod
    def _answer_pixels(self, pixels: Any) -> Answers:
        """Score and decide on preprocessed images, (batch, 3, height, width)."""

    def __repr__(self) -> str:
        threshold = self.threshold
        if isinstance(threshold, tuple):
            threshold = f"({describe_threshold(threshold)})"
        return (
            f"{type(self).__name__}({len(self.class_names)} classes, score={self.score_name!r}, "
            f"rule={self.rule!r}, threshold={threshold})"
        )

    def predict(
        self,
        images: Iterable[ImageSource] | ImageSource,
        *,
        on_error: Literal["raise", "keep"] = "raise",
    ) -> Predictions:
        """Answer for images.

        Args:
            images: Paths, PIL images, arrays (height, width, channels), tensors (channels, height,
                width), encoded bytes, or any iterable of them; it is read lazily, batch by batch.
            on_error: "raise" at an image that cannot be read, or "keep" an answer that says why.

        Returns:
            One answer an image, in order.

        Raises:
            DataError: If an image cannot be read.
            NotCalibratedError: If nothing decides yet.
        """
        rule = self.decided_rule()
        items = tuple(self.stream(images, on_error=on_error))
        return Predictions(
            items=items, score_name=self.score_name, rule=rule, threshold=self.threshold
        )

    def stream(
        self,
        images: Iterable[ImageSource] | ImageSource,
        *,
        on_error: Literal["raise", "keep"] = "raise",
    ) -> Iterator[Prediction]:
        """Answer for more images than memory holds, one after the other; see `predict`."""
        if on_error not in ("raise", "keep"):
            raise ValueError(f"on_error must be 'raise' or 'keep'; got {on_error!r}.")
        self.decided_rule()
        return self._stream(images, on_error)

    def _stream(
        self, images: Iterable[ImageSource] | ImageSource, on_error: Literal["raise", "keep"]
    ) -> Iterator[Prediction]:
        for batch, answers in self._answer(images, on_error=on_error):
            row_of = {row: position for position, row in enumerate(batch.rows)}
            for row, name in enumerate(batch.names):
                if row in batch.errors:
                    yield Prediction(
                        image=name,
                        label="",
                        score=math.nan,
                        is_ood=None,
                        best_class="",
                        error=batch.errors[row],
                    )
                    continue
                assert answers is not None
                yield self._predict_row(name, answers, row_of[row])

    def _predict_row(self, image: str, answers: Answers, row: int) -> Prediction:
        """The answer for one image of a batch."""
        assert answers.refused is not None
        best, is_ood = self.class_names[answers.best[row]], bool(answers.refused[row])
        return Prediction(
            image=image,
            label=NONE_OF_THESE if is_ood else best,
            score=float(answers.scores[row]),
            is_ood=is_ood,
            best_class=best,
        )

    def score(self, images: Iterable[ImageSource] | ImageSource) -> Float[np.ndarray, " images"]:
        """Score images: higher = more in-distribution.

        Args:
            images: See `predict`.

        Returns:
            One score an image, float64.

        Raises:
            DataError: If an image cannot be read.
        """
        parts = [answers.scores for _, answers in self._answer(images, on_error="raise") if answers]
        return np.concatenate(parts) if parts else np.zeros(0)

    @overload
    def calibrate(
        self,
        id_images: Iterable[ImageSource] | ImageSource,
        *,
        method: Literal["tpr"] = "tpr",
        tpr: float | None = None,
    ) -> float: ...
    @overload
    def calibrate(
        self,
        id_images: Iterable[ImageSource] | ImageSource,
        *,
        method: Literal["conformal"],
        alpha: float | None = None,
        per_class: bool = True,
    ) -> Threshold: ...
    def calibrate(
        self,
        id_images: Iterable[ImageSource] | ImageSource,
        *,
        method: CalibrationMethod = "tpr",
        tpr: float | None = None,
        alpha: float | None = None,
        per_class: bool = True,
    ) -> Threshold:
        """Set the threshold by the user's own in-distribution images.

        Args:
            id_images: Images of the classes, not used for anything else; at least a hundred, better
                more.
            method: "tpr": keep a share of these very images. "conformal": refuse at most a share of
                ID images not seen yet, in expectation, if they are drawn as these were.
            tpr: Of the method "tpr": share to keep, in (0, 1]; 0.95 by default.
            alpha: Of the method "conformal": share to refuse at most, in (0, 1); 0.05 by default.
            per_class: Of the method "conformal": keep the promise among the images taken for each
                class, each by a threshold of its own; classes with fewer than 1 / alpha - 1 images
                share one (see `clipn.metrics.class_conformal_thresholds`).

        Returns:
            The threshold, which from now on decides; a tuple of one for each class where they have
            their own.

        Raises:
            DataError: If an image cannot be read, or there are none, or too few for any threshold
                to keep the promise.
            ValueError: If an option is out of range, or belongs to the other method.
        """
        _check_method(method, tpr=tpr, alpha=alpha)
        answers = [answers for _, answers in self._answer(id_images, on_error="raise") if answers]
        if not answers:
            raise DataError("Calibration needs at least one image; got none.")
        scores = np.concatenate([part.scores for part in answers])
        if method == "conformal":
            best = np.concatenate([part.best for part in answers]) if per_class else None
            self.calibration = self._promise(scores, best, alpha=0.05 if alpha is None else alpha)
            self.threshold = self.calibration.threshold
        else:
            tpr = 0.95 if tpr is None else tpr
            if scores.size < MIN_CALIBRATION_IMAGES:
                log.warning(
                    "A threshold from %d images is a rough guess; take a hundred or more.",
                    scores.size,
                )
            self.threshold = threshold_at_tpr(scores, tpr=tpr)
            self.calibration = Calibration(tpr=tpr, num_images=scores.size)
        self.rule = "threshold"
        return self.threshold

    def _promise(
        self,
        scores: Float[np.ndarray, " images"],
        best: Int[np.ndarray, " images"] | None,
        *,
        alpha: float,
    ) -> ConformalCalibration:
        """A conformal calibration; what it cannot do for some classes is said."""
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
            num_classes=len(self.class_names),
        )
        sharing = np.flatnonzero(calibration.shared_classes)
        if best is not None and sharing.size:
            names = ", ".join(repr(self.class_names[row]) for row in sharing[:8])
            log.warning(
                "%d of %d classes share a threshold, since fewer than %d images were taken for "
                "each: %s%s. The promise holds among their images together.",
                sharing.size,
                len(self.class_names),
                needed,
                names,
                " and more" if sharing.size > 8 else "",
            )
        return calibration

    def p_values(self, images: Iterable[ImageSource] | ImageSource) -> Float[np.ndarray, " images"]:
        """How usual images are among those that the detector was calibrated with.

        A new ID image has a p-value of at most a with a probability of at most a, for every a;
        those of at most `alpha` are refused.

        Args:
            images: See `predict`.

        Returns:
            One an image, from 0 to 1, lower = less in-distribution.

        Raises:
            DataError: If an image cannot be read.
            NotCalibratedError: If the detector was not calibrated by the method "conformal".
        """
        if not isinstance(self.calibration, ConformalCalibration):
            raise NotCalibratedError(
                "p-values compare with calibration images that a detector keeps only when "
                'calibrated with method="conformal".'
            )
        answers = [answers for _, answers in self._answer(images, on_error="raise") if answers]
        parts = [self.calibration.p_values(part.scores, part.best) for part in answers]
        return np.concatenate(parts) if parts else np.zeros(0)

    def decided_rule(self) -> Rule:
        """What decides.

        Raises:
            NotCalibratedError: If nothing does yet.
        """
        if self.rule is None:
            raise NotCalibratedError(
                f"The score {self.score_name!r} has no decision rule of its own: calibrate "
                "the detector on images of your classes, or give it a threshold."
            )
        return self.rule

    def _answer(
        self, images: Iterable[ImageSource] | ImageSource, *, on_error: Literal["raise", "keep"]
    ) -> Iterator[tuple[LoadedBatch[Any], Answers | None]]:
        """Read and score images batch by batch; None for a batch without a readable image."""
        for batch in self._load(_as_iterable(images)):
            if batch.errors and on_error == "raise":
                raise DataError(next(iter(batch.errors.values())))
            yield batch, None if batch.pixels is None else self._answer_pixels(batch.pixels)

    def _load(self, images: Iterable[ImageSource]) -> Iterator[LoadedBatch[Any]]:
        """Read and preprocess images batch by batch."""
        return load_batches(
            images,
            self.preprocess,
            batch_size=self.batch_size,
            num_workers=self.num_workers,
            min_side=min_side_of(self.decoding, size=self.image_size),
        )


def _as_iterable(images: Iterable[ImageSource] | ImageSource) -> Iterable[ImageSource]:
    """A single image as a list of one."""
    if isinstance(images, str | bytes | Path | Image.Image):
        return [images]
    if isinstance(images, np.ndarray | TensorLike) and len(images.shape) < 4:
        return [images]
    return images  # pyright: ignore[reportReturnType]  (a batch of tensors iterates)


def _check_method(method: CalibrationMethod, *, tpr: float | None, alpha: float | None) -> None:
    """Refuse what is out of range, and an option of the method that was not asked for."""
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
