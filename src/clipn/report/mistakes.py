"""The images that a score judges most wrongly, as small pictures for a page."""

import base64
import io
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int
from PIL import Image

from clipn.benchmarks.results import Result, SetScores
from clipn.data.image_sets import ImageSet
from clipn.data.images import read_image

PICTURE_SIZE = 96  # pixels of the longer side
PICTURE_BUDGET = 640  # pictures of a whole page, about 3 MB

Wrong = Literal["accepted", "rejected"]


@dataclass(frozen=True, kw_only=True)
class Picture:
    """An image with what a score says about it.

    Attributes:
        jpeg: The picture, JPEG in base64.
        name: What its set calls it.
        label: Its class, where the set knows it.
        taken_for: The class that it looks most like, where that was kept.
        score: Its score.
    """

    jpeg: str
    name: str
    label: str | None
    taken_for: str | None
    score: float


@dataclass(frozen=True, kw_only=True)
class Mistakes:
    """The most wrongly judged images of a set.

    Attributes:
        wrong: Accepted (OOD images, highest scores first) or rejected (ID, lowest first).
        set_name: Their set.
        pictures: Empty where the images are not at hand.
    """

    wrong: Wrong
    set_name: str
    pictures: tuple[Picture, ...]


class Album:
    """Draws pictures from image sets, each no more than once."""

    def __init__(self, images: Iterable[ImageSet]) -> None:
        self._sets = {one.fingerprint: one for one in images}
        self._pictures: dict[tuple[str, int], str] = {}

    def find(self, result: Result, set_name: str) -> ImageSet | None:
        """The very images that a result was measured on, if they are at hand."""
        return self._sets.get(result.data[set_name].fingerprint)

    def mistakes(
        self, result: Result, scores: SetScores, *, num_pictures: int
    ) -> tuple[Mistakes, ...]:
        """The images most wrongly accepted of each OOD set, and the ID images rejected.

        Raises:
            DataError: If an image that has a score can no longer be read.
        """
        found = [
            self._worst(result, name, -outside, scores.ood_best.get(name), "accepted", num_pictures)
            for name, outside in scores.ood_scores.items()
        ]
        name, inside = id_set_name(result), mean_id_scores(scores)
        found.append(self._worst(result, name, inside, scores.id_best, "rejected", num_pictures))
        return tuple(found)

    def _worst(
        self,
        result: Result,
        set_name: str,
        ranks: Float[np.ndarray, " images"],
        best: Int[np.ndarray, " images"] | None,
        wrong: Wrong,
        num_pictures: int,
    ) -> Mistakes:
        """The images of the lowest ranks; NaN sorts last and is left out."""
        images = self.find(result, set_name)
        rows = np.argsort(ranks, kind="stable")[:num_pictures] if images else ()
        sign = -1 if wrong == "accepted" else 1
        pictures = tuple(
            self._picture(
                images,
                int(row),
                taken_for=None if best is None else result.class_names[best[row]],
                score=sign * float(ranks[row]),
            )
            for row in rows
            if images and not np.isnan(ranks[row])
        )
        return Mistakes(wrong=wrong, set_name=set_name, pictures=pictures)

    def _picture(
        self, images: ImageSet, row: int, *, taken_for: str | None, score: float
    ) -> Picture:
        key = (images.fingerprint, row)
        if key not in self._pictures:
            self._pictures[key] = _encode(read_image(images.images[row]))
        label = images.labels[row] if images.labels else -1
        return Picture(
            jpeg=self._pictures[key],
            name=images.ids[row],
            label=images.label_names[label] if 0 <= label < len(images.label_names) else None,
            taken_for=taken_for,
            score=score,
        )


def id_set_name(result: Result) -> str:
    """Name of the ID set of a result."""
    return next(name for name, count in result.data.items() if count.kind == "id")


def mean_id_scores(scores: SetScores) -> Float[np.ndarray, " num_id"]:
    """One score an ID image: the mean over the streams, for scores that depend on their order.

    Example:
        >>> once = np.array([1.0, np.nan])
        >>> scores = SetScores(id_scores={"a": once, "b": once + 1}, ood_scores={"a": once})
        >>> mean_id_scores(scores).tolist()
        [1.5, nan]
    """
    distinct = {id(values): values for values in scores.id_scores.values()}
    return np.mean(list(distinct.values()), axis=0)


def pictures_a_set(results: Iterable[Result]) -> int:
    """How many pictures of each set each score may show, so that the page stays small."""
    num_rows = sum(len(result.data) for result in results)
    return max(2, min(8, PICTURE_BUDGET // max(1, num_rows)))


def _encode(image: Image.Image) -> str:
    """A small JPEG in base64; smaller images keep their size."""
    image.thumbnail((PICTURE_SIZE, PICTURE_SIZE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=82, optimize=True)
    return base64.b64encode(buffer.getvalue()).decode("ascii")
