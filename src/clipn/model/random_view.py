"""The random view of an image that teaching shows a tower."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image
from torch import Tensor

MAX_TRIES = 10
LOG_ASPECTS = (math.log(3 / 4), math.log(4 / 3))


@dataclass(frozen=True, kw_only=True)
class RandomView:
    """A random crop of an image, resized to what a tower takes and normalised.

    A crop has a share of the area between `min_scale` and 1, a ratio of width to height between 3:4
    and 4:3 (log-uniform), and lies anywhere. Where no such crop fits, as in a panorama, it is the
    largest one in the middle whose ratio is allowed.

    All draws come from the generator of the call, so that views can be made in any order and in any
    number of threads, and still be the same.

    Attributes:
        preprocess: Makes a tensor of an image that has the tower's size.
        size: The side of the tower's square, or its height and width, in pixels.
        min_scale: Smallest share of the area that a crop keeps.

    Source: Szegedy et al., "Going Deeper with Convolutions", CVPR 2015, section 6; as
        `torchvision.transforms.RandomResizedCrop`, which open_clip trains with.
    """

    preprocess: Callable[[Image.Image], Tensor]
    size: int | Sequence[int]
    min_scale: float = 0.9

    def __post_init__(self) -> None:
        if not 0 < self.min_scale <= 1:
            raise ValueError(f"min_scale must lie in (0, 1]; got {self.min_scale}.")

    def __str__(self) -> str:
        return f"random crop, min_scale {self.min_scale}"

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
        return self.preprocess(crop.resize((width, height), Image.Resampling.BICUBIC))


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
