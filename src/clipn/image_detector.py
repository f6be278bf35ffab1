"""What every detector does with images, whatever computes the scores."""

import logging
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from PIL import Image

from clipn.data.image_batches import LoadedBatch, load_batches
from clipn.data.images import Decoding, ImageSource, TensorLike, min_side_of
from clipn.errors import DataError, NotCalibratedError
from clipn.metrics import threshold_at_tpr
from clipn.predictions import NONE_OF_THESE, Prediction, Predictions, Rule

log = logging.getLogger(__name__)

MIN_CALIBRATION_IMAGES = 20  # below that, a share of 95 % is not even one image


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Where a threshold is from.

    Attributes:
        tpr: Share of the ID images that it keeps.
        num_images: How many ID images there were.
    """

    tpr: float
    num_images: int


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
        threshold: Of the rule "threshold".
        calibration: Where the threshold is from, if `calibrate` made it.
        batch_size: Images embedded at once.
        num_workers: Threads that read images.
        decoding: How JPEG files are decoded; may be changed at any time.
    """

    score_name: str
    rule: Rule | None
    threshold: float | None
    calibration: Calibration | None
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
        return (
            f"{type(self).__name__}({len(self.class_names)} classes, score={self.score_name!r}, "
            f"rule={self.rule!r}, threshold={self.threshold})"
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
                assert answers.refused is not None
                position = row_of[row]
                best = self.class_names[answers.best[position]]
                is_ood = bool(answers.refused[position])
                yield Prediction(
                    image=name,
                    label=NONE_OF_THESE if is_ood else best,
                    score=float(answers.scores[position]),
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

    def calibrate(
        self, id_images: Iterable[ImageSource] | ImageSource, *, tpr: float = 0.95
    ) -> float:
        """Set the threshold that keeps a share of the user's own in-distribution images.

        Args:
            id_images: Images of the classes, not used for anything else; at least a hundred, better
                more.
            tpr: Share of them to keep, in (0, 1].

        Returns:
            The threshold, which from now on decides.

        Raises:
            DataError: If an image cannot be read, or there is none.
            ValueError: If `tpr` lies outside (0, 1].
        """
        if not 0 < tpr <= 1:
            raise ValueError(f"tpr must lie in (0, 1]; got {tpr}.")
        scores = self.score(id_images)
        if scores.size == 0:
            raise DataError("Calibration needs at least one image; got none.")
        if scores.size < MIN_CALIBRATION_IMAGES:
            log.warning(
                "A threshold from %d images is a rough guess; take a hundred or more.", scores.size
            )
        self.threshold = threshold_at_tpr(scores, tpr=tpr)
        self.calibration = Calibration(tpr=tpr, num_images=scores.size)
        self.rule = "threshold"
        return self.threshold

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
        batches = load_batches(
            _as_iterable(images),
            self.preprocess,
            batch_size=self.batch_size,
            num_workers=self.num_workers,
            min_side=min_side_of(self.decoding, size=self.image_size),
        )
        for batch in batches:
            if batch.errors and on_error == "raise":
                raise DataError(next(iter(batch.errors.values())))
            yield batch, None if batch.pixels is None else self._answer_pixels(batch.pixels)


def _as_iterable(images: Iterable[ImageSource] | ImageSource) -> Iterable[ImageSource]:
    """A single image as a list of one."""
    if isinstance(images, str | bytes | Path | Image.Image):
        return [images]
    if isinstance(images, np.ndarray | TensorLike) and len(images.shape) < 4:
        return [images]
    return images  # pyright: ignore[reportReturnType]  (a batch of tensors iterates)
