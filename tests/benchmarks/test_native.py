import numpy as np
import pytest
from PIL import Image

from clipn.benchmarks import NativeForm


def noise(size: int) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (size, size, 3))
    return Image.fromarray(pixels.astype(np.uint8))


def blockiness(image: Image.Image) -> float:
    """How much larger steps are across the edges of JPEG's blocks than within them."""
    grey = np.asarray(image.convert("L"), dtype=float)
    steps = np.abs(np.diff(grey, axis=1)).mean(axis=0)
    is_edge = np.arange(1, grey.shape[1]) % 8 == 0
    return steps[is_edge].mean() / steps[~is_edge].mean()


def test_an_image_of_the_native_size_stays_as_it_is() -> None:
    image = noise(32)
    assert NativeForm(size=32, jpeg_quality=75).bring(image) is image


def test_what_is_made_smaller_gets_the_traces_of_compression_that_native_images_have() -> None:
    large = noise(64).resize((64, 64), Image.Resampling.BICUBIC)
    plain = NativeForm(size=32).bring(large)
    compressed = NativeForm(size=32, jpeg_quality=10).bring(large)
    assert plain.size == compressed.size == (32, 32)
    assert blockiness(compressed) > 1.5 > 1.2 > blockiness(plain)


def test_images_with_a_palette_or_alpha_can_be_compressed() -> None:
    for mode in ("P", "RGBA", "L", "I;16"):
        image = NativeForm(size=32, jpeg_quality=75).bring(Image.new(mode, (28, 28)))
        assert image.mode == "RGB"


@pytest.mark.parametrize("options", [{"size": 0}, {"size": 32, "jpeg_quality": 0}])
def test_forms_that_no_image_can_have_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="got 0"):
        NativeForm(**options)
