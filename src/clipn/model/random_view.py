"""The random view of an image that teaching shows a tower."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image, ImageEnhance, ImageOps
from torch import Tensor

ViewStrength = Literal["weak", "strong"]

STRENGTHS: dict[ViewStrength, dict[str, float]] = {
    "weak": {},
    "strong": {
        "min_scale": 0.25,
        "flip_probability": 0.5,
        "brightness": 0.3,
        "contrast": 0.25,
        "saturation": 0.4,
    },
}
"""The fields of `RandomView` by the name of its strength: weak views are the paper's."""

MAX_TRIES = 10
LOG_ASPECTS = (math.log(3 / 4), math.log(4 / 3))


@dataclass(frozen=True, kw_only=True)
class RandomView:
    """A random crop of an image, resized to what a tower takes, altered and normalised.

    A crop has a share of the area between `min_scale` and 1, a ratio of width to height between 3:4
    and 4:3 (log-uniform), and lies anywhere. Where no such crop fits, as in a panorama, it is the
    largest one in the middle whose ratio is allowed.

    All draws come from the generator of the call, so that views can be made in any order and in any
    number of threads, and still be the same.

    Attributes:
        preprocess: Makes a tensor of an image that has the tower's size.
        size: The side of the tower's square, or its height and width, in pixels.
        min_scale: Smallest share of the area that a crop keeps.
        flip_probability: How often the crop is mirrored.
        brightness: The brightness is multiplied by up to so much more or less than 1.
        contrast: The same for the contrast.
        saturation: The same for the colours.

    Source: Szegedy et al., "Going Deeper with Convolutions", CVPR 2015, section 6; as
        `torchvision.transforms.RandomResizedCrop`, which open_clip trains with, and `ColorJitter`.
    """

    preprocess: Callable[[Image.Image], Tensor]
    size: int | Sequence[int]
    min_scale: float = 0.9
    flip_probability: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.min_scale <= 1:
            raise ValueError(f"min_scale must lie in (0, 1]; got {self.min_scale}.")
        for name in ("flip_probability", "brightness", "contrast", "saturation"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie in [0, 1]; got {getattr(self, name)}.")

    def __str__(self) -> str:
        chosen = [f"{name} {value}" for name, value in self._draws() if value]
        return ", ".join(["random crop", *chosen])

    def __call__(self, image: Image.Image, generator: np.random.Generator) -> Tensor:
        """Draw a view.

        Args:
            image: Of any size.
            generator: Of the draws.

        Returns:
            What `preprocess` makes of the crop.
        """
        crop = image.crop(draw_crop(image.size, self.min_scale, generator))
        height, width = np.broadcast_to(self.size, 2).tolist()
        view = crop.resize((width, height), Image.Resampling.BICUBIC)
        return self.preprocess(self._alter(view, generator))

    def _draws(self) -> list[tuple[str, float]]:
        fields = ("min_scale", "flip_probability", "brightness", "contrast", "saturation")
        return [(name, getattr(self, name)) for name in fields]

    def _alter(self, view: Image.Image, generator: np.random.Generator) -> Image.Image:
        """Mirror a view, and change its light and colours."""
        if self.flip_probability and generator.random() < self.flip_probability:
            view = ImageOps.mirror(view)
        for enhance, spread in (
            (ImageEnhance.Brightness, self.brightness),
            (ImageEnhance.Contrast, self.contrast),
            (ImageEnhance.Color, self.saturation),
        ):
            if spread:
                view = enhance(view).enhance(generator.uniform(1 - spread, 1 + spread))
        return view


def draw_crop(
    size: tuple[int, int], min_scale: float, generator: np.random.Generator
) -> tuple[int, int, int, int]:
    """Draw the crop of a view.

    Args:
        size: Width and height of the image.
        min_scale: Smallest share of the area that a crop keeps.
        generator: Of the draws.

    Returns:
        The left, upper, right and lower edge of the crop.
    """
    width, height = size
    for _ in range(MAX_TRIES):
        area = width * height * generator.uniform(min_scale, 1)
        aspect = math.exp(generator.uniform(*LOG_ASPECTS))
        crop_width, crop_height = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < crop_width <= width and 0 < crop_height <= height:
            left = int(generator.integers(width - crop_width + 1))
            top = int(generator.integers(height - crop_height + 1))
            return left, top, left + crop_width, top + crop_height
    narrowest, widest = map(math.exp, LOG_ASPECTS)
    crop_width = max(1, min(width, round(height * widest)))
    crop_height = max(1, min(height, round(width / narrowest)))
    left, top = (width - crop_width) // 2, (height - crop_height) // 2
    return left, top, left + crop_width, top + crop_height
