"""What every detector does with images, whatever computes the scores."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
from jaxtyping import Float
from PIL import Image

from clipn.calibration import (
    AnyCalibration,
    Calibration,
    CalibrationMethod,
    ConformalCalibration,
    calibrate_conformally,
    check_method,
)
from clipn.data.image_batches import LoadedBatch, load_batches
from clipn.data.images import Decoding, ImageSource, TensorLike, min_side_of
from clipn.errors import DataError, NotCalibratedError
from clipn.explanation import Explanation, rank_classes, weigh
from clipn.judgement import Judgement
from clipn.metrics import threshold_at_tpr
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
    def judge_pixels(
        self, pixels: Any, *, extra_scores: Sequence[str] = (), top_k: int = 1
    ) -> Judgement:
        """Embed, compare, score and decide.

        Args:
            pixels: Preprocessed images, (batch, 3, height, width).
            extra_scores: Scores to take besides the detector's own.
            top_k: How many classes to rank; at most all are.

        Raises:
            ClipnError, ValueError: As `check_scores` does.
        """

    @abstractmethod
    def check_scores(self, names: Sequence[str]) -> None:
        """Refuse scores that this detector cannot take.

        Raises:
            ModelError: If one needs a "no" that the model has not learned.
            ValueError: If there is no such score, or it needs more than a detector has.
        """

    @abstractmethod
    def fingerprint(self) -> str:
        """A short hash of all that an answer depends on, 16 hexadecimal digits."""

    @abstractmethod
    def _map_no(
        self, pixels: Any, best: int
    ) -> tuple[Float[np.ndarray, "rows columns"] | None, str | None]:
        """The p_no of a class for each part of an image, or why there is none."""

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
        for batch, judged in self._judge_images(images, on_error=on_error):
            answers = iter(() if judged is None else self._predict_rows(batch, judged))
            for row, name in enumerate(batch.names):
                error = batch.errors.get(row)
                yield next(answers) if error is None else Prediction.unreadable(name, error)

    def _predict_rows(self, batch: LoadedBatch[Any], judged: Judgement) -> Iterator[Prediction]:
        """The answers for the readable images of a batch."""
        assert judged.refused is not None
        p_values = self.p_values_of(judged)
        for place, row in enumerate(batch.rows):
            best, is_ood = self.class_names[judged.best[place]], bool(judged.refused[place])
            yield Prediction(
                image=batch.names[row],
                label=NONE_OF_THESE if is_ood else best,
                score=float(judged.scores[self.score_name][place]),
                is_ood=is_ood,
                best_class=best,
                p_value=None if p_values is None else float(p_values[place]),
            )

    def explain(self, image: ImageSource, *, top_k: int = 5) -> Explanation:
        """Say why an image is named or refused.

        Args:
            image: One image, as `predict` takes it.
            top_k: How many classes to tell about, the likeliest first.

        Returns:
            The answer, what decided, yes and no of the likeliest classes, and where in the image
            the "no" of the best class is strong.

        Raises:
            DataError: If the image cannot be read.
            NotCalibratedError: If nothing decides yet.
            ValueError: If `top_k` is below 1.
        """
        if top_k < 1:
            raise ValueError(f"top_k must be at least 1; got {top_k}.")
        rule, batch = self.decided_rule(), next(self._load([image]))
        if batch.pixels is None:
            raise DataError(batch.errors[0])
        judged = self.judge_pixels(batch.pixels, top_k=len(self.class_names))
        (prediction,), best = self._predict_rows(batch, judged), int(judged.best[0])
        classes = rank_classes(
            tuple(self.class_names[row] for row in judged.top[0]),
            judged.top_yes[0],
            None if judged.top_no is None else judged.top_no[0],
        )
        evidence = weigh(
            prediction,
            classes,
            rule=rule,
            score_name=self.score_name,
            bound=self.threshold[best] if isinstance(self.threshold, tuple) else self.threshold,
            calibration=self.calibration,
        )
        no_map, absence = self._map_no(batch.pixels, best)
        return Explanation(
            prediction=prediction,
            evidence=evidence,
            classes=classes[:top_k],
            no_map=no_map,
            no_map_absence=absence,
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
        parts = [judged.scores[self.score_name] for judged in self._judge_all(images)]
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
        check_method(method, tpr=tpr, alpha=alpha)
        parts = self._judge_all(id_images)
        if not parts:
            raise DataError("Calibration needs at least one image; got none.")
        scores = np.concatenate([judged.scores[self.score_name] for judged in parts])
        if method == "conformal":
            self.calibration = calibrate_conformally(
                scores,
                np.concatenate([judged.best for judged in parts]) if per_class else None,
                class_names=self.class_names,
                alpha=0.05 if alpha is None else alpha,
            )
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
        if self.conformal_calibration is None:
            raise NotCalibratedError(
                "p-values compare with calibration images that a detector keeps only when "
                'calibrated with method="conformal".'
            )
        parts = map(self.p_values_of, self._judge_all(images))
        return np.concatenate([part for part in parts if part is not None] or [np.zeros(0)])

    def p_values_of(self, judged: Judgement) -> Float[np.ndarray, " images"] | None:
        """The p-values of images that were judged; None without a conformal calibration."""
        calibration = self.conformal_calibration
        if calibration is None:
            return None
        return calibration.p_values(judged.scores[self.score_name], judged.best)

    @property
    def conformal_calibration(self) -> ConformalCalibration | None:
        """The calibration, if it is one that gives p-values."""
        return self.calibration if isinstance(self.calibration, ConformalCalibration) else None

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

    def _judge_all(self, images: Iterable[ImageSource] | ImageSource) -> list[Judgement]:
        """Judge images batch by batch; one that cannot be read is an error."""
        batches = self._judge_images(images, on_error="raise")
        return [judged for _, judged in batches if judged is not None]

    def _judge_images(
        self, images: Iterable[ImageSource] | ImageSource, *, on_error: Literal["raise", "keep"]
    ) -> Iterator[tuple[LoadedBatch[Any], Judgement | None]]:
        """Read and judge images batch by batch; None for a batch without a readable image."""
        for batch in self._load(_as_iterable(images)):
            if batch.errors and on_error == "raise":
                raise DataError(next(iter(batch.errors.values())))
            yield batch, None if batch.pixels is None else self.judge_pixels(batch.pixels)

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
