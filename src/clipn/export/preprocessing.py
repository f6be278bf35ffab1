"""open_clip's preprocessing with Pillow and NumPy: the same pixels without torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageOps

__all__ = ["Preprocessing"]

_FILTERS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """Makes an RGB image what an image tower takes: resized, cropped, normalised.

    Attributes:
        size: Height and width, in pixels.
        mean: Of each channel, in [0, 1]; subtracted.
        std: Of each channel; divided by.
        interpolation: How Pillow resizes.
        resize_mode: "shortest" fills the size and cuts what sticks out, "longest" fits in and pads,
            "squash" gives up the aspect.
        fill_color: Grey value of the padding, 0 to 255.
    """

    size: tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: Literal["bicubic", "bilinear"] = "bicubic"
    resize_mode: Literal["shortest", "longest", "squash"] = "shortest"
    fill_color: int = 0

    def __post_init__(self) -> None:
        for option, allowed in (
            ("interpolation", tuple(_FILTERS)),
            ("resize_mode", ("shortest", "longest", "squash")),
        ):
            if getattr(self, option) not in allowed:
                raise ValueError(
                    f"{option} must be one of {', '.join(allowed)}; got {getattr(self, option)!r}."
                )

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "Preprocessing":
        """Read open_clip's configuration, as `CLIPN.source.preprocess` holds it.

        Raises:
            KeyError: If size, mean or std is missing.
            ValueError: If a value is none that there is.

        Example:
            >>> mean, std = [0.5, 0.5, 0.5], [0.25, 0.25, 0.25]
            >>> Preprocessing.from_config({"size": 64, "mean": mean, "std": std}).size
            (64, 64)
        """
        height, width = np.broadcast_to(config["size"], 2).tolist()
        red, green, blue = map(float, config["mean"])
        red_std, green_std, blue_std = map(float, config["std"])
        # open_clip takes "random" for bicubic outside training.
        interpolation = config.get("interpolation") or "bicubic"
        return cls(
            size=(height, width),
            mean=(red, green, blue),
            std=(red_std, green_std, blue_std),
            interpolation="bicubic" if interpolation == "random" else interpolation,
            resize_mode=config.get("resize_mode") or "shortest",
            fill_color=config.get("fill_color", 0),
        )

    def __call__(self, image: Image.Image) -> Float[np.ndarray, "3 height width"]:
        """Preprocess one image.

        Args:
            image: Of mode "RGB".

        Returns:
            Float32 pixels.
        """
        resized = image.resize(self._resized(*image.size), _FILTERS[self.interpolation])
        pixels = np.asarray(self._crop_or_pad(resized), dtype=np.float32) / np.float32(255)
        normalised = (pixels - np.array(self.mean, np.float32)) / np.array(self.std, np.float32)
        # (height, width, 3) -> (3, height, width)
        return np.ascontiguousarray(normalised.transpose(2, 0, 1))

    def _resized(self, width: int, height: int) -> tuple[int, int]:
        """Width and height that an image is resized to before it is cropped."""
        target_height, target_width = self.size
        if self.resize_mode == "squash":
            return target_width, target_height
        if self.resize_mode == "shortest" and target_height == target_width:
            # The longer side is cut off to whole pixels here, and rounded below: so open_clip does.
            shorter = target_height
            if width <= height:
                return shorter, int(shorter * height / width)
            return int(shorter * width / height), shorter
        ratios = height / target_height, width / target_width
        ratio = max(ratios) if self.resize_mode == "longest" else min(ratios)
        return round(width / ratio), round(height / ratio)

    def _crop_or_pad(self, image: Image.Image) -> Image.Image:
        """The middle of an image, with a border where it is smaller than that."""
        height, width = self.size
        missing_x, missing_y = max(0, width - image.width), max(0, height - image.height)
        if missing_x or missing_y:
            # left, top, right, bottom; the odd pixel goes right and down
            left, top = missing_x // 2, missing_y // 2
            border = (left, top, missing_x - left, missing_y - top)
            image = ImageOps.expand(image, border, fill=(self.fill_color,) * 3)
        left, top = round((image.width - width) / 2), round((image.height - height) / 2)
        return image.crop((left, top, left + width, top + height))
