"""Arrays and tensors as RGB images, and what is refused."""

import numpy as np
import pytest
import torch
from PIL import Image

from clipn.data.images import read_image
from clipn.errors import DataError

WIDE = np.array([[0, 32768, 65535], [257, 128, 129]], dtype=np.uint16)
NARROW = [[0, 128, 255], [1, 0, 1]]


def colourful(width: int, height: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def pixels(image: Image.Image) -> np.ndarray:
    assert image.mode == "RGB"
    return np.asarray(image)


def grey(image: Image.Image) -> list[list[int]]:
    values = pixels(image)
    assert (values == values[..., :1]).all()
    return values[..., 0].tolist()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[0, 7, 255]], dtype=np.uint8), [[0, 7, 255]]),
        (WIDE, NARROW),
        (WIDE.astype(">u2"), NARROW),
        (np.array([[True, False]]), [[255, 0]]),
        (np.array([[0.0, 0.5, 1.0]]), [[0, 128, 255]]),
        (np.array([[0.0, 0.5, 1.0]], dtype=np.float16), [[0, 128, 255]]),
        (np.array([[-1e-7, 1 + 1e-7]]), [[0, 255]]),
        (np.array([[[0], [9]]], dtype=np.uint8), [[0, 9]]),
    ],
)
def test_grey_arrays_of_every_dtype(values, expected):
    assert grey(read_image(values)) == expected


def test_all_256_values_survive_the_way_through_floats():
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert grey(read_image(values / np.float32(255))) == values.tolist()
    assert grey(read_image(torch.from_numpy(values) / 255)) == values.tolist()


def test_colour_arrays_have_channels_last_and_tensors_channels_first():
    values = colourful(5, 6)
    np.testing.assert_array_equal(pixels(read_image(values)), values)
    np.testing.assert_array_equal(pixels(read_image(values[::-1, ::-1])), values[::-1, ::-1])
    tensor = torch.from_numpy(values.copy()).permute(2, 0, 1)
    np.testing.assert_array_equal(pixels(read_image(tensor)), values)


def test_the_fourth_channel_is_alpha():
    values = np.array([[[0, 0, 0, 0], [0, 0, 0, 255]]], dtype=np.uint8)
    assert grey(read_image(values)) == [[255, 0]]
    assert grey(read_image(torch.from_numpy(values).permute(2, 0, 1))) == [[255, 0]]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_tensors_of_every_float_dtype(dtype):
    tensor = torch.tensor([[[0.0, 0.5, 1.0]]], dtype=dtype, requires_grad=True)
    assert grey(read_image(tensor)) == [[0, 128, 255]]


def test_tensors_of_every_other_dtype():
    assert grey(read_image(torch.from_numpy(WIDE))) == NARROW
    assert grey(read_image(torch.tensor([[True, False]]))) == [[255, 0]]


@pytest.mark.parametrize("shape", [(3, 5, 5), (5,), (2, 5, 5, 3), (5, 5, 2), ()])
def test_arrays_that_are_not_one_image_are_refused(shape):
    with pytest.raises(ValueError, match=r"<array \(.*is not one image: .*\(height, width"):
        read_image(np.zeros(shape))


@pytest.mark.parametrize("shape", [(5, 5, 3), (1, 3, 5, 5), (5,), (2, 5, 5)])
def test_tensors_that_are_not_one_image_are_refused(shape):
    with pytest.raises(ValueError, match=r"<tensor \(.*is not one image: .*1 \| 3 \| 4, height"):
        read_image(torch.zeros(shape))


@pytest.mark.parametrize("dtype", [np.int64, np.int8, np.complex64, np.uint32, object])
def test_other_dtypes_are_refused(dtype):
    with pytest.raises(TypeError, match=r"<array \(2, 2\)> has dtype .*: it must be uint8, uint16"):
        read_image(np.zeros((2, 2), dtype=dtype))


@pytest.mark.parametrize("value", [1.5, -0.1, 255.0])
def test_floats_outside_zero_to_one_are_refused(value):
    with pytest.raises(ValueError, match=r"<array \(1, 2\)> holds .* must lie in \[0, 1\]"):
        read_image(np.array([[0.5, value]]))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers_are_refused(value):
    with pytest.raises(ValueError, match="holds NaN or infinite values"):
        read_image(np.array([[0.5, value]]))


def test_empty_images_are_refused():
    with pytest.raises(ValueError, match=r"<array \(0, 4\)> has no pixels"):
        read_image(np.zeros((0, 4)))
    with pytest.raises(ValueError, match=r"<tensor \(3, 4, 0\)> has no pixels"):
        read_image(torch.zeros(3, 4, 0))
    with pytest.raises(DataError, match=r"<PIL image 0x4> cannot be read .* it has no pixels"):
        read_image(Image.new("RGB", (0, 4)))


def test_arrays_too_narrow_to_resize_are_refused():
    with pytest.raises(ValueError, match=r"<array \(1, 101\)>: its 101 x 1 pixels are too narrow"):
        read_image(np.zeros((1, 101)))
    with pytest.raises(ValueError, match=r"<tensor \(3, 202, 2\)>: its 2 x 202 pixels are too nar"):
        read_image(torch.zeros(3, 202, 2))
    assert read_image(np.zeros((1, 100))).size == (100, 1)
