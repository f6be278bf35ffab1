"""What a detector answers."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal, overload

import numpy as np
from jaxtyping import Bool, Float, Int

if TYPE_CHECKING:
    import pandas as pd

NONE_OF_THESE = "none of these"
Rule = Literal["ctw", "atd", "threshold"]

Threshold = float | tuple[float, ...]
"""What a score must reach: one number for all classes, or one for each of them in their order, of
which that of the most likely class counts."""


def is_below(
    scores: Float[np.ndarray, " batch"], best: Int[np.ndarray, " batch"], threshold: Threshold
) -> Bool[np.ndarray, " batch"]:
    """Whether each score is below the threshold of the image's most likely class.

    Example:
        >>> is_below(np.array([0.3, 0.3]), np.array([0, 1]), (0.2, 0.4)).tolist()
        [False, True]
    """
    bounds = np.array(threshold)
    return scores < (bounds[best] if bounds.ndim else bounds)


def describe_threshold(threshold: Threshold | None) -> str:
    """A threshold in few words.

    Example:
        >>> describe_threshold(0.5), describe_threshold((0.25, 0.5))
        ('0.5', '0.25 to 0.5, by class')
    """
    if isinstance(threshold, tuple):
        return f"{min(threshold):.4g} to {max(threshold):.4g}, by class"
    return "None" if threshold is None else f"{threshold:.4g}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Prediction:
    """The answer for one image.

    Attributes:
        image: The path as it was given, or a description such as "<PIL image 640x480>".
        label: The class that it shows, or "none of these"; empty if the image could not be read.
        score: Higher = more in-distribution; NaN if the image could not be read.
        is_ood: Whether it shows none of the classes; None if the image could not be read.
        best_class: The most likely class, also where it was refused.
        error: Why the image could not be read.
        p_value: How usual the score is among the calibration images, from 0 to 1 (see
            `clipn.metrics.conformal_p_values`); None unless the detector was calibrated by the
            method "conformal".
    """

    image: str
    label: str
    score: float
    is_ood: bool | None
    best_class: str
    error: str | None = None
    p_value: float | None = None

    @classmethod
    def unreadable(cls, image: str, error: str) -> "Prediction":
        """The answer for an image that could not be read."""
        return cls(image=image, label="", score=math.nan, is_ood=None, best_class="", error=error)


@dataclass(frozen=True, kw_only=True)
class Predictions(Sequence[Prediction]):
    """The answers for several images, in their order.

    Attributes:
        items: One answer an image.
        score_name: Which score was taken.
        rule: What decided: a rule of the paper ("ctw", "atd") or a threshold.
        threshold: Of the rule "threshold": scores below it were refused; see `Threshold`.
    """

    items: tuple[Prediction, ...]
    score_name: str
    rule: Rule
    threshold: Threshold | None

    @overload
    def __getitem__(self, index: int) -> Prediction: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Prediction]: ...
    def __getitem__(self, index: int | slice) -> Prediction | Sequence[Prediction]:
        return self.items[index]

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Prediction]:
        return iter(self.items)

    @property
    def scores(self) -> Float[np.ndarray, " images"]:
        """All scores, NaN for images that could not be read."""
        return np.array([item.score for item in self.items], dtype=np.float64)

    @property
    def unreadable(self) -> tuple[Prediction, ...]:
        """The images that could not be read."""
        return tuple(item for item in self.items if item.error is not None)

    def to_dataframe(self) -> "pd.DataFrame":
        """A pandas table with a row an image and the fields of `Prediction` as columns."""
        # Imported here because it takes as long as everything else that an answer needs.
        import pandas as pd

        names = list(Prediction.__dataclass_fields__)
        table = pd.DataFrame([asdict(item) for item in self.items], columns=names)
        return table.astype({"p_value": "float64"})
