"""Files, bytes and PIL images of every kind as RGB, and what is refused."""

import io
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from drawings import colourful, encode
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from clipn.data.images import name_source, read_image
from clipn.errors import DataError

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
WIDE = np.array([[0, 32768, 65535], [257, 128, 129]], dtype=np.uint16)
NARROW = [[0, 128, 255], [1, 0, 1]]


def pixels(image: Image.Image) -> np.ndarray:
    assert image.mode == "RGB"
    return np.asarray(image)


def grey(image: Image.Image) -> list[list[int]]:
    values = pixels(image)
    assert (values == values[..., :1]).all()
    return values[..., 0].tolist()


# Files and bytes of every kind


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM", "QOI", "GIF"])
def test_a_lossless_file_comes_back_as_it_was_written(tmp_path, kind):
    image = colourful(8, 8) if kind != "GIF" else colourful(8, 8).quantize(16)
    path = tmp_path / "image"
    path.write_bytes(encode(image, kind))
    expected = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(pixels(read_image(path)), expected)
    np.testing.assert_array_equal(pixels(read_image(str(path))), expected)
    np.testing.assert_array_equal(pixels(read_image(path.read_bytes())), expected)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photograph_is_turned_upright_by_its_exif_orientation(orientation):
    upright = colourful(6, 4)
    # How a camera that was held so has stored the picture: the inverse of what a reader does.
    stored_as = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = upright.transpose(stored_as[orientation]) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(stored, "PNG", exif=exif)
    np.testing.assert_array_equal(pixels(read_image(data)), np.asarray(upright))
    opened = Image.open(io.BytesIO(data))
    np.testing.assert_array_equal(pixels(read_image(opened)), np.asarray(upright))


def test_an_upright_image_is_not_turned_again():
    exif = Image.Exif()
    exif[0x0112] = 6
    once = read_image(encode(colourful(6, 4), "PNG", exif=exif))
    np.testing.assert_array_equal(pixels(read_image(once)), pixels(once))


def test_damaged_exif_leaves_the_image_as_it_is_stored():
    exif = b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03"
    image = Image.new("RGB", (4, 2), RED)
    image.info["exif"] = exif
    np.testing.assert_array_equal(pixels(read_image(image)), np.full((2, 4, 3), RED))


def test_a_transparent_palette_entry_is_white():
    image = Image.new("P", (2, 1))
    image.putpalette([*RED, *GREEN])
    image.putpixel((1, 0), 1)
    for kind in ("PNG", "GIF"):
        read = read_image(encode(image, kind, transparency=1))
        assert pixels(read).tolist() == [[[*RED], [*WHITE]]]


def test_a_half_transparent_palette_entry_is_mixed_with_white():
    image = Image.new("P", (1, 1))
    image.putpalette([*RED])
    read = read_image(encode(image, "PNG", transparency=bytes([128])))
    assert read.getpixel((0, 0)) == (255, 127, 127)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "La", "RGBa"])
def test_every_kind_of_alpha_is_put_over_white(mode):
    image = Image.new("RGBA", (2, 1), (0, 0, 0, 0))
    image.putpixel((1, 0), (0, 0, 0, 255))
    convert_by = {"PA": "P", "La": "LA"}.get(mode)
    image = image.convert(convert_by).convert(mode) if convert_by else image.convert(mode)
    if mode == "PA":
        image.putalpha(Image.frombytes("L", (2, 1), bytes([0, 255])))
    assert grey(read_image(image)) == [[255, 0]]


def test_a_transparent_colour_of_a_png_is_white():
    image = Image.new("RGB", (2, 1), RED)
    image.putpixel((1, 0), BLUE)
    read = read_image(encode(image, "PNG", transparency=BLUE))
    assert pixels(read).tolist() == [[[*RED], [*WHITE]]]


def test_grey_with_alpha_is_put_over_white():
    image = Image.new("LA", (2, 1), (0, 255))
    image.putpixel((1, 0), (0, 51))
    assert grey(read_image(encode(image, "PNG"))) == [[0, 204]]


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_becomes_the_colour_it_prints(kind):
    image = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    read = read_image(encode(image, kind))
    np.testing.assert_allclose(pixels(read)[8, 8], RED, atol=3)


@pytest.mark.parametrize("mode", ["YCbCr", "HSV"])
def test_other_colour_spaces_become_rgb(mode):
    image = Image.new("RGB", (4, 4), BLUE).convert(mode)
    np.testing.assert_allclose(pixels(read_image(image))[0, 0], BLUE, atol=2)


def test_lab_becomes_rgb():
    image = Image.new("LAB", (4, 4), (255, 128, 128))
    np.testing.assert_allclose(pixels(read_image(encode(image, "TIFF")))[0, 0], WHITE, atol=2)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM", "JPEG2000"])
def test_16_bit_grey_is_scaled_rather_than_clipped(kind):
    assert grey(read_image(encode(Image.fromarray(WIDE), kind))) == NARROW


def test_big_endian_16_bit_grey_is_scaled_too():
    image = Image.fromarray(WIDE.astype(">u2"))
    assert image.mode == "I;16B"
    assert grey(read_image(encode(image, "TIFF"))) == NARROW


def test_a_transparent_16_bit_grey_is_white():
    data = encode(Image.fromarray(WIDE), "PNG", transparency=0)
    assert grey(read_image(data)) == [[255, 128, 255], [1, 0, 1]]


def test_mode_i_holds_16_bits():
    assert grey(read_image(Image.fromarray(WIDE.astype(np.int32)))) == NARROW
    with pytest.raises(DataError, match='mode "I" must hold 0 to 65535; it holds 0 to 65536'):
        read_image(Image.fromarray(np.array([[0, 65536]], dtype=np.int32)))


def test_mode_f_holds_zero_to_one():
    image = Image.fromarray((WIDE / 65535).astype(np.float32))
    assert grey(read_image(encode(image, "TIFF"))) == NARROW
    with pytest.raises(DataError, match=r'mode "F" holds 0 to 255: floats must lie in \[0, 1\]'):
        read_image(Image.fromarray(np.array([[0, 255]], dtype=np.float32)))


def test_one_bit_images_are_black_and_white():
    image = Image.fromarray(np.array([[True, False]]))
    assert image.mode == "1"
    assert grey(read_image(encode(image, "PNG"))) == [[255, 0]]
    assert grey(read_image(encode(image, "TIFF"))) == [[255, 0]]


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "TIFF", "PNG"])
def test_of_an_animation_the_first_frame_is_read(kind):
    frames = [Image.new("RGB", (4, 4), BLUE), Image.new("RGB", (4, 4), GREEN)]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encode(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert read_image(data).getpixel((0, 0)) == BLUE


def test_a_pil_image_is_left_alone():
    image = colourful()
    read = read_image(image)
    read.putpixel((0, 0), (1, 2, 3))
    np.testing.assert_array_equal(np.asarray(image), np.asarray(colourful()))


def test_one_lazily_opened_image_can_be_read_by_many_threads():
    data = encode(colourful(600, 400), "PNG")
    image = Image.open(io.BytesIO(data))
    with ThreadPoolExecutor(4) as executor:
        reads = list(executor.map(read_image, [image] * 8))
    for read in reads:
        np.testing.assert_array_equal(pixels(read), np.asarray(colourful(600, 400)))


def test_reading_agrees_with_pillow_on_an_ordinary_photograph(tmp_path):
    colourful(64, 48).save(tmp_path / "photo.jpg")
    expected = ImageOps.exif_transpose(Image.open(tmp_path / "photo.jpg")).convert("RGB")
    np.testing.assert_array_equal(pixels(read_image(tmp_path / "photo.jpg")), np.asarray(expected))


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P"])
def test_what_is_read_from_an_image_shares_no_pixels_with_it(mode):
    image = colourful(8, 8).convert(mode)
    before = image.copy()
    read_image(image).paste((1, 2, 3), (0, 0, 8, 8))
    assert image.tobytes() == before.tobytes()


# Files that cannot be read


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"gone\.jpg cannot be read as an image: No such file"):
        read_image(tmp_path / "gone.jpg")


def test_a_folder_is_no_image(tmp_path):
    with pytest.raises(DataError, match="cannot be read as an image: Is a directory"):
        read_image(tmp_path)


def test_a_pipe_is_refused_instead_of_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(DataError, match=r"pipe\.jpg .* it is not a regular file"):
        read_image(tmp_path / "pipe.jpg")


def test_a_path_that_no_file_can_have_is_refused():
    with pytest.raises(DataError, match="null byte"):
        read_image("a\0.jpg")
    with pytest.raises(DataError, match="File name too long"):
        read_image("a" * 5000)


def test_an_empty_file_is_refused(tmp_path):
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(DataError, match=r"empty\.jpg cannot be read as an image: it is empty"):
        read_image(str(tmp_path / "empty.jpg"))
    with pytest.raises(DataError, match="<0 bytes> cannot be read as an image: it is empty"):
        read_image(b"")


def test_text_is_no_image(tmp_path):
    (tmp_path / "notes.jpg").write_text("milk, bread, a school bus")
    with pytest.raises(DataError, match=r"notes\.jpg .* none of the known formats \(JPEG, PNG"):
        read_image(tmp_path / "notes.jpg")


def test_postscript_is_not_handed_to_another_program():
    data = encode(Image.new("RGB", (4, 4)), "EPS")
    with pytest.raises(DataError, match="none of the known formats"):
        read_image(data)


def test_a_truncated_file_is_refused(tmp_path):
    data = encode(colourful(64, 64), "JPEG")
    (tmp_path / "half.jpg").write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match=r"half\.jpg cannot be read as an image: .*truncated"):
        read_image(tmp_path / "half.jpg")


@pytest.mark.parametrize("limit", [100, 255])
def test_more_pixels_than_pillow_allows_are_refused_before_decoding(monkeypatch, limit):
    data = encode(Image.new("RGB", (16, 16)), "PNG")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    # Its pixels are missing: only a reader that stops at the header can tell the size.
    with pytest.raises(
        DataError, match=f"16 x 16 pixels are more than .*MAX_IMAGE_PIXELS, {limit}"
    ):
        read_image(data[:60])
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert read_image(data).size == (16, 16)


def test_a_limit_of_ones_own_on_pixels_is_kept_before_decoding(monkeypatch):
    data = encode(Image.new("RGB", (16, 16)), "PNG")

    with pytest.raises(DataError, match=r"its 16 x 16 pixels are more than 255$"):
        read_image(data[:60], max_pixels=255)
    assert read_image(data, max_pixels=256).size == (16, 16)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(DataError, match="MAX_IMAGE_PIXELS, 100"):
        read_image(data, max_pixels=256)


@pytest.mark.parametrize("size", [(1, 10000), (10000, 1), (101, 1), (2, 201)])
def test_an_image_too_narrow_to_resize_is_refused_before_decoding(size):
    image = Image.new("RGB", size)
    width, height = size
    what = f"its {width} x {height} pixels are too narrow: .* at most 100 times the shorter"
    # Its pixels are missing: only a reader that stops at the header can tell the size.
    with pytest.raises(DataError, match=f"<60 bytes> cannot be read as an image: {what}"):
        read_image(encode(image, "PNG")[:60])
    with pytest.raises(DataError, match=what):
        read_image(image)


@pytest.mark.parametrize("size", [(100, 1), (2, 200)])
def test_an_image_just_wide_enough_is_read(size):
    assert read_image(encode(Image.new("RGB", size), "PNG")).size == size


def test_reading_closes_the_file(tmp_path):
    path = tmp_path / "image.png"
    colourful().save(path)
    before = len(list(Path("/proc/self/fd").iterdir()))
    images = [read_image(path) for _ in range(5)]
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert images[0].size == (24, 16)


EXIF = Image.Exif()
EXIF[0x0112] = 6
MUTATED = [
    encode(colourful(), "JPEG", exif=EXIF),
    encode(colourful(), "JPEG", progressive=True),
    encode(colourful(), "PNG", exif=EXIF),
    encode(colourful().quantize(32), "PNG", transparency=bytes(range(32))),
]


@settings(max_examples=300, deadline=None)
@given(
    data=st.sampled_from(MUTATED),
    changes=st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255)), max_size=8),
    length=st.integers(0, 5000),
)
def test_a_damaged_file_is_an_image_or_a_data_error(data, changes, length):
    damaged = bytearray(data[: max(length, 1)])
    for position, value in changes:
        damaged[position % len(damaged)] = value
    try:
        image = read_image(bytes(damaged))
    except DataError:
        return
    assert image.mode == "RGB"
    assert image.width * image.height > 0


# Names


def test_every_source_has_a_name():
    assert name_source("a/b.jpg") == "a/b.jpg"
    assert name_source(Path("a/b.jpg")) == str(Path("a/b.jpg"))
    assert name_source(Image.new("L", (640, 480))) == "<PIL image 640x480>"
    assert name_source(np.zeros((4, 4, 3))) == "<array (4, 4, 3)>"
    assert name_source(torch.zeros(3, 4, 4)) == "<tensor (3, 4, 4)>"
    assert name_source(bytes(123)) == "<123 bytes>"
    assert name_source(3) == "<int>"
