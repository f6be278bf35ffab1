"""What a score is given: a task, known before the first image, and then batches of images."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float, Int
from torch import Tensor

Need = Literal["no", "id_images", "gradients", "patches", "words", "outliers", "order"]
"""What a score asks for beyond image embeddings, the classes and tau.

- "no": the embeddings of the no tower.
- "id_images": embeddings and labels of ID images, which are no test images.
- "gradients": pixels, and an image tower that can be differentiated.
- "patches": embeddings of the parts of an image.
- "words": embeddings of words that name none of the classes; which ones, `Score.words` says.
- "outliers": embeddings of names of things that are expected but are none of the classes.
- "order": the images one after the other; the score of one depends on those before it.
"""

WordRecipe = Literal["neg_label", "csp"]
"""How negative words are mined; see `clipn.scores.mine_words`."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a score may know before it sees an image; embeddings are L2-normalised.

    Whoever runs a score fills in what the score's needs ask for.

    Attributes:
        yes: The classes.
        tau: What a logit is of a cosine, above 0.
        no: The classes' "no"; for the need "no".
        id_image: ID images that are no test images; for "id_images".
        id_labels: Their classes, rows of `yes`.
        encode_image: Maps normalised pixels to embeddings and can be differentiated; for
            "gradients".
        pixel_std: What the pixels of each channel were divided by when they were normalised.
        negatives: Words that name none of the classes; for "words".
        outliers: Names of outliers; for "outliers".

    Raises:
        ValueError: If tau is not above 0.
    """

    yes: Float[Tensor, "classes dim"]
    tau: float
    no: Float[Tensor, "classes dim"] | None = None
    id_image: Float[Tensor, "num_id dim"] | None = None
    id_labels: Int[Tensor, " num_id"] | None = None
    encode_image: Callable[[Tensor], Tensor] | None = None
    pixel_std: tuple[float, ...] | None = None
    negatives: Float[Tensor, "num_words dim"] | None = None
    outliers: Float[Tensor, "num_outliers dim"] | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.tau) and self.tau > 0):
            raise ValueError(f"tau must be a number above 0; got {self.tau}.")


@dataclass(frozen=True, kw_only=True)
class ImageBatch:
    """Images to score; embeddings are L2-normalised.

    Attributes:
        image: Their embeddings.
        patches: The embeddings of their parts; for the need "patches".
        pixels: The images themselves, normalised; for the need "gradients".
    """

    image: Float[Tensor, "batch dim"]
    patches: Float[Tensor, "batch patches dim"] | None = None
    pixels: Float[Tensor, "batch 3 height width"] | None = None

    def split(self, rows: int) -> "Iterator[ImageBatch]":
        """The same images, at most `rows` at once."""
        for first in range(0, max(1, len(self.image)), rows):
            part = slice(first, first + rows)
            yield ImageBatch(
                image=self.image[part],
                patches=None if self.patches is None else self.patches[part],
                pixels=None if self.pixels is None else self.pixels[part],
            )


Scorer = Callable[[ImageBatch], Float[Tensor, " batch"]]
"""Scores images, float64, higher = more in-distribution."""

FIELDS_OF_NEED: dict[Need, tuple[str, ...]] = {
    "no": ("no",),
    "id_images": ("id_image", "id_labels"),
    "gradients": ("encode_image", "pixel_std"),
    "patches": (),
    "words": ("negatives",),
    "outliers": ("outliers",),
    "order": (),
}
"""The fields of a task that serve a need."""
