"""Random crops: what open_clip trains with, drawn from a generator of one's own."""

import numpy as np
import pytest
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from torchvision.transforms import RandomResizedCrop

from clipn.model.random_view import RandomView, draw_crop

ASPECTS = [3 / 4, 4 / 3]


def noise(width: int, height: int) -> Image.Image:
    values = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values)


def open_clip_transform(size: int | tuple[int, int], *, is_train: bool, min_scale: float = 1.0):
    config = PreprocessCfg(size=size)
    return image_transform_v2(config, is_train=is_train, aug_cfg={"scale": (min_scale, 1.0)})


@pytest.mark.parametrize("min_scale", [0.3, 0.9])
def test_crops_are_spread_as_those_of_torchvision(min_scale):
    image, generator = noise(90, 80), np.random.default_rng(0)
    ours = np.array([draw_crop(image.size, min_scale, generator) for _ in range(4000)])
    theirs = np.array(
        [RandomResizedCrop.get_params(image, [min_scale, 1], ASPECTS) for _ in range(4000)]
    )
    top, left, height, width = theirs.T
    expected = np.stack([left, top, left + width, top + height], axis=1)
    np.testing.assert_allclose(ours.mean(axis=0), expected.mean(axis=0), atol=0.8)
    np.testing.assert_allclose(ours.std(axis=0), expected.std(axis=0), atol=0.8)
    assert ours.min() == 0
    assert ours.max(axis=0)[2:].tolist() == [90, 80]


@pytest.mark.parametrize("size", [(400, 100), (100, 400), (300, 200), (1, 1), (1, 3)])
def test_where_no_crop_fits_it_is_the_middle_as_torchvision_takes_it(size):
    crops = {draw_crop(size, 1.0, np.random.default_rng(seed)) for seed in range(20)}
    top, left, height, width = RandomResizedCrop.get_params(noise(*size), [1, 1], ASPECTS)
    assert crops == {(left, top, left + width, top + height)}


@pytest.mark.parametrize("size", [32, (24, 40)])
def test_a_view_of_a_whole_square_is_open_clips(size):
    image = noise(50, 50)
    view = RandomView(
        preprocess=open_clip_transform(size, is_train=False), size=size, min_scale=1.0
    )
    expected = open_clip_transform(size, is_train=True)(image)
    assert torch.equal(view(image, np.random.default_rng(0)), expected)


def test_a_view_depends_on_nothing_but_its_generator():
    view = RandomView(preprocess=open_clip_transform(16, is_train=False), size=16, min_scale=0.3)
    image, state = noise(50, 40), torch.get_rng_state()
    first = [view(image, np.random.default_rng(seed)) for seed in range(6)]
    torch.manual_seed(99)
    again = [view(image, np.random.default_rng(seed)) for seed in reversed(range(6))]
    assert all(torch.equal(*pair) for pair in zip(first, reversed(again), strict=True))
    assert len({pixels.numpy().tobytes() for pixels in first}) == 6
    torch.manual_seed(0)
    assert torch.equal(torch.get_rng_state(), state)


def test_each_alteration_is_drawn_by_itself_and_its_range_is_as_stated():
    image = noise(40, 40)
    options = {"preprocess": open_clip_transform(40, is_train=False), "size": 40, "min_scale": 1.0}
    plain = RandomView(**options)(image, np.random.default_rng(0))

    def draw(**alteration: float) -> list[torch.Tensor]:
        view = RandomView(**options, **alteration)
        return [view(image, np.random.default_rng(seed)) for seed in range(40)]

    assert all(torch.equal(pixels, plain.flip(-1)) for pixels in draw(flip_probability=1.0))
    mirrored = [torch.equal(pixels, plain.flip(-1)) for pixels in draw(flip_probability=0.5)]
    assert 10 < sum(mirrored) < 30
    darkest = min(pixels.mean() for pixels in draw(brightness=0.3))
    black = RandomView(**options)(Image.new("RGB", (40, 40)), np.random.default_rng(0)).mean()
    assert 0.7 <= (darkest - black) / (plain.mean() - black) < 0.8
    for name in ("contrast", "saturation"):
        spreads = [pixels.std() / plain.std() for pixels in draw(**{name: 0.3})]
        assert min(spreads) < 0.9 < 1.02 < max(spreads), name


def test_strong_views_of_a_model_say_what_they_are(plain_model):
    assert str(plain_model.augmentation()) == "random crop, min_scale 0.9"
    assert str(plain_model.augmentation("strong")) == (
        "random crop, min_scale 0.25, flip_probability 0.5, brightness 0.3, contrast 0.25, "
        "saturation 0.4"
    )


@pytest.mark.parametrize("name", ["flip_probability", "brightness", "contrast", "saturation"])
def test_an_alteration_outside_of_its_range_is_refused(name):
    with pytest.raises(ValueError, match=rf"{name} must lie in \[0, 1\]; got 1.5"):
        RandomView(preprocess=lambda image: torch.zeros(3), size=8, **{name: 1.5})


@pytest.mark.parametrize("min_scale", [0.0, -0.5, 1.1])
def test_a_share_of_the_area_outside_of_its_range_is_refused(min_scale):
    with pytest.raises(ValueError, match=rf"min_scale must lie in \(0, 1\]; got {min_scale}"):
        RandomView(preprocess=lambda image: torch.zeros(3), size=8, min_scale=min_scale)
