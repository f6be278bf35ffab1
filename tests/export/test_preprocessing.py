"""Pillow and NumPy make the pixels that open_clip's own preprocessing makes."""

import numpy as np
import pytest
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image

from clipn.export.preprocessing import Preprocessing


@pytest.mark.parametrize("resize_mode", ["shortest", "longest", "squash"])
@pytest.mark.parametrize("size", [32, (32, 32), (32, 48), (50, 21)])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear", "random"])
def test_pixels_are_those_of_open_clip(
    pictures: list[Image.Image], resize_mode: str, size: int | tuple[int, int], interpolation: str
):
    config = PreprocessCfg(
        size=size, resize_mode=resize_mode, interpolation=interpolation, fill_color=7
    )
    if resize_mode == "shortest" and size in ((32, 48), (50, 21)):
        # open_clip then forgets the interpolation, and resizes bicubically.
        config.interpolation = "bicubic"
    expected, ours = (
        image_transform_v2(config, is_train=False),
        Preprocessing.from_config(vars(config)),
    )
    for picture in pictures:
        np.testing.assert_array_equal(ours(picture), expected(picture).numpy())


def test_an_unknown_way_to_resize_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("jaxtyping.config.jaxtyping_disable", True)  # as users have it
    config = {"size": 8, "mean": [0.5] * 3, "std": [0.5] * 3}
    with pytest.raises(ValueError, match=r"resize_mode must be one of .* got 'widest'"):
        Preprocessing.from_config(config | {"resize_mode": "widest"})
    with pytest.raises(ValueError, match=r"interpolation must be one of .* got 'nearest'"):
        Preprocessing.from_config(config | {"interpolation": "nearest"})
