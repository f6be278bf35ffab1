"""One image of any kind as an RGB image."""

import io
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile

from clipn.errors import DataError

__all__ = ["Decoding", "ImageSource", "TensorLike", "min_side_of", "name_source", "read_image"]


@runtime_checkable
class TensorLike(Protocol):
    """A torch tensor, as far as an image is made of it; torch itself need not be there."""

    @property
    def shape(self) -> Any:
        """Its sizes."""
        ...

    def is_floating_point(self) -> bool:
        """Whether it holds floats."""
        ...

    def float(self) -> "TensorLike":
        """As float32."""
        ...

    def detach(self) -> "TensorLike":
        """Without its gradient."""
        ...

    def cpu(self) -> Any:
        """In main memory."""
        ...


ImageSource: TypeAlias = str | Path | Image.Image | np.ndarray | TensorLike | bytes
"""What is taken as one image: a path, encoded bytes, a PIL image, an array or a tensor."""

Decoding: TypeAlias = Literal["exact", "reduced"]
"""How JPEG files are decoded for a tower: "exact", all pixels; "reduced", large ones at 1/2, 1/4 or
1/8 of their size, never below twice what the tower takes, which is several times faster.

Bound of "reduced": with the compact model, the cosine of an embedding to the exact one is above
0.999 (mean 0.9999), and a pixel that the tower sees moves by half a step of 255 on average.
`benchmarks/folder_speed.py` measures both."""

# Only formats with a signature, so that arbitrary bytes are never taken for pixels, and none that
# Pillow hands to another program (EPS to Ghostscript).
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF", "QOI")

# What Pillow raises on damaged files, its warnings included where the user made them errors.
# fmt: off
_DECODING_ERRORS = (
    ArithmeticError, AssertionError, EOFError, Image.DecompressionBombError, LookupError,
    MemoryError, OSError, RuntimeError, SyntaxError, TypeError, ValueError, Warning,
    struct.error, zlib.error,
)
# fmt: on

# A lazily opened PIL image may be asked for by two threads at once, and decoding it is not safe
# then. One lock an image would have to outlive it, so images share a few.
_DECODING = tuple(Lock() for _ in range(61))

# Resized by its shorter side, as towers want it, a strip of 1 x 10000 pixels would fill gigabytes.
_MAX_ASPECT = 100

# How much smaller libjpeg can decode, the most first; and how many times what the tower takes must
# be left, so that the resize to it still averages over several pixels.
_REDUCTIONS, _MARGIN = (8, 4, 2), 2

# What rounding in a resize may add to a value of 0 or 1.
_ROUNDING = 1e-5


def read_image(
    source: ImageSource, *, min_side: int | None = None, max_pixels: int | None = None
) -> Image.Image:
    """Read an image of any kind as 8-bit RGB.

    Files, bytes and PIL images are turned upright by their EXIF orientation, transparency is put
    over white, and of an animation the first frame is taken (of a PIL image the current one).
    Wide values are scaled, never clipped: 16-bit ones and PIL's mode "I" hold 0 to 65535, floats
    and PIL's mode "F" hold 0 to 1.

    Args:
        source: A path, encoded bytes, a PIL image, an array of shape (height, width) or (height,
            width, 1 | 3 | 4), or a tensor of shape (height, width) or (1 | 3 | 4, height, width).
            Arrays and tensors are uint8, uint16, bool, or float in [0, 1].
        min_side: Decode a JPEG file at 1/2, 1/4 or 1/8 of its size where both its sides are whole
            multiples of that and the shorter one keeps this many pixels. That is several times
            faster, but what a resize makes of it is a little different. None decodes every pixel.
        max_pixels: Refuse files and bytes of more pixels before any of them is decoded; by default
            `PIL.Image.MAX_IMAGE_PIXELS`.

    Returns:
        A new image of mode "RGB"; `source` keeps its pixels.

    Raises:
        DataError: The file, the bytes or the PIL image cannot be decoded, has more pixels than
            allowed, or is more than 100 times longer than wide.
        TypeError: `source` is of another type, or an array or tensor of another dtype.
        ValueError: An array or tensor of another shape, as narrow as that, or with values outside
            its range.

    Examples:
        >>> import numpy as np
        >>> image = read_image(np.ones((2, 3)))
        >>> image.mode, image.size, image.getpixel((0, 0))
        ('RGB', (3, 2), (255, 255, 255))
    """
    name = name_source(source)
    if isinstance(source, TensorLike):
        return _read_array(_channels_last(source, name), name)
    if isinstance(source, np.ndarray):
        return _read_array(source, name)
    if not isinstance(source, str | Path | bytes | Image.Image):
        raise TypeError(
            f"{name} is not an image: it must be a path, encoded bytes, a PIL image, an array or "
            "a tensor."
        )
    try:
        return _read_encoded(source, min_side, max_pixels)
    except _DECODING_ERRORS as error:
        # An OSError of the operating system repeats the path in its text.
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise DataError(f"{name} cannot be read as an image: {reason}") from error


def name_source(source: object) -> str:
    """Name an image in messages and tables.

    Args:
        source: Any `ImageSource`.

    Returns:
        The path as it was given, with bytes that are no UTF-8 escaped; for anything else what it
        is and how large.

    Examples:
        >>> name_source("photos/cat.jpg"), name_source(b"GIF89a")
        ('photos/cat.jpg', '<6 bytes>')
    """
    if isinstance(source, str | Path):
        # Tables cannot hold the halves of pairs that stand for bytes that are no UTF-8.
        return str(source).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    if isinstance(source, bytes):
        return f"<{len(source)} bytes>"
    if isinstance(source, Image.Image):
        return f"<PIL image {source.width}x{source.height}>"
    if isinstance(source, TensorLike):
        return f"<tensor {tuple(source.shape)}>"
    if isinstance(source, np.ndarray):
        return f"<array {source.shape}>"
    return f"<{type(source).__name__}>"


def min_side_of(decoding: Decoding, *, size: int | Sequence[int]) -> int | None:
    """The shorter side that `read_image` may decode a JPEG down to.

    Args:
        decoding: How.
        size: What the tower takes, in pixels: the side of a square, or height and width.

    Raises:
        ValueError: If there is no such way to decode.

    Examples:
        >>> min_side_of("reduced", size=224), min_side_of("exact", size=224)
        (448, None)
    """
    if decoding not in ("exact", "reduced"):
        raise ValueError(f"decoding must be 'exact' or 'reduced'; got {decoding!r}.")
    return None if decoding == "exact" else _MARGIN * int(np.max(size))


def _read_encoded(
    source: str | Path | bytes | Image.Image, min_side: int | None, max_pixels: int | None
) -> Image.Image:
    if isinstance(source, Image.Image):
        with _DECODING[id(source) % len(_DECODING)]:
            image = _decode(source)
            return source.copy() if image is source else image
    if isinstance(source, bytes):
        return _decode(_reduce(_open(io.BytesIO(source), max_pixels), min_side))
    path = Path(source)
    # Opening a pipe would wait for a writer.
    if path.exists() and not path.is_file() and not path.is_dir():
        raise OSError("it is not a regular file")
    with path.open("rb") as file:
        return _decode(_reduce(_open(file, max_pixels), min_side))


def _open(file: io.BufferedReader | io.BytesIO, max_pixels: int | None) -> Image.Image:
    """Identify a file and read its header.

    `Image.open` would print a warning on a large image, and warnings cannot be filtered in threads.
    """
    Image.init()
    prefix = file.read(16)
    if not prefix:
        raise UnidentifiedImageError("it is empty")
    file.seek(0)
    for kind in _FORMATS:
        factory, accepts = Image.OPEN.get(kind, (None, None))
        answer = accepts(prefix) if accepts else False
        if isinstance(answer, str):
            raise UnidentifiedImageError(answer)
        if answer and factory:
            image = factory(file, "")
            _check_size(image, max_pixels)
            return image
    raise UnidentifiedImageError(f"it is in none of the known formats ({', '.join(_FORMATS)})")


def _check_size(image: Image.Image, max_pixels: int | None) -> None:
    limit, name = Image.MAX_IMAGE_PIXELS, "PIL.Image.MAX_IMAGE_PIXELS, "
    if max_pixels is not None and (limit is None or max_pixels < limit):
        limit, name = max_pixels, ""
    if limit is not None and image.width * image.height > limit:
        raise Image.DecompressionBombError(
            f"its {image.width} x {image.height} pixels are more than {name}{limit}"
        )


def _check_aspect(width: int, height: int, *, whose: str = "its") -> None:
    if max(width, height) > _MAX_ASPECT * min(width, height):
        raise ValueError(
            f"{whose} {width} x {height} pixels are too narrow: the longer side may be at most "
            f"{_MAX_ASPECT} times the shorter"
        )


def _reduce(image: Image.Image, min_side: int | None) -> Image.Image:
    """Have a JPEG decoded smaller, where that keeps `min_side` pixels.

    Sides that are no whole multiples would be rounded up. A resize to a tower's size could then
    differ by a pixel in the longer side, and the crop of its middle move by half a pixel.
    """
    if min_side is None or not isinstance(image, JpegImageFile):
        return image
    width, height = image.size
    for divisor in _REDUCTIONS:
        is_whole = width % divisor == height % divisor == 0
        if is_whole and min(width, height) // divisor >= min_side:
            image.draft(None, (width // divisor, height // divisor))
            break
    return image


def _decode(image: Image.Image) -> Image.Image:
    """The pixels of an opened image as RGB; the image itself where it holds just them."""
    if not image.width * image.height:
        raise ValueError("it has no pixels")
    _check_aspect(image.width, image.height)
    image.load()
    image = _turn_upright(image)
    if image.mode == "F" or image.mode.startswith("I"):
        return _narrow(image).convert("RGB")
    return _put_over_white(image)


def _turn_upright(image: Image.Image) -> Image.Image:
    """The image as its EXIF orientation says; itself where there is nothing to turn."""
    try:
        if image.getexif().get(ExifTags.Base.Orientation, 1) == 1:
            return image
        return ImageOps.exif_transpose(image)
    except _DECODING_ERRORS:
        # Damaged metadata are common on the web and say nothing about the pixels.
        return image


def _narrow(image: Image.Image) -> Image.Image:
    """Grey values of 16 or 32 bits as 8 bits."""
    values = np.asarray(image)
    if image.mode == "I":
        low, high = values.min(), values.max()
        if low < 0 or high > 65535:
            raise ValueError(f'mode "I" must hold 0 to 65535; it holds {low} to {high}')
        values = values.astype(np.uint16)
    grey = _to_uint8(values, f'mode "{image.mode}"')
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        grey = np.where(values == transparent, np.uint8(255), grey)
    return Image.fromarray(grey)


def _put_over_white(image: Image.Image) -> Image.Image:
    if image.mode == "La":  # Pillow knows no direct way from here to RGBA.
        image = image.convert("LA")
    if not image.has_transparency_data:
        return image if image.mode == "RGB" else image.convert("RGB")
    image = image.convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image).convert("RGB")


def _channels_last(pixels: TensorLike, name: str) -> np.ndarray:
    shape = tuple(pixels.shape)
    if not (len(shape) == 2 or (len(shape) == 3 and shape[0] in (1, 3, 4))):
        raise ValueError(
            f"{name} is not one image: a tensor must be of shape (height, width) or "
            "(1 | 3 | 4, height, width)."
        )
    # numpy has no bfloat16.
    exact = pixels.float() if pixels.is_floating_point() else pixels
    values: np.ndarray = exact.detach().cpu().numpy()
    return values if values.ndim == 2 else values.transpose(1, 2, 0)


def _read_array(values: np.ndarray, name: str) -> Image.Image:
    if not (values.ndim == 2 or (values.ndim == 3 and values.shape[2] in (1, 3, 4))):
        raise ValueError(
            f"{name} is not one image: an array must be of shape (height, width) or "
            "(height, width, 1 | 3 | 4)."
        )
    if not values.size:
        raise ValueError(f"{name} has no pixels: height and width must be at least 1.")
    _check_aspect(values.shape[1], values.shape[0], whose=f"{name}: its")
    pixels = np.ascontiguousarray(_to_uint8(values, name))
    return _put_over_white(Image.fromarray(pixels[..., 0] if pixels.shape[2:] == (1,) else pixels))


def _to_uint8(values: np.ndarray, name: str) -> np.ndarray:
    kind, num_bytes = values.dtype.kind, values.dtype.itemsize
    if kind == "u" and num_bytes == 1:
        return values
    if kind == "b":
        return values * np.uint8(255)
    if kind == "u" and num_bytes == 2:
        # 65535 is 257 * 255, so this is round(values / 257).
        return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if kind != "f":
        raise TypeError(
            f"{name} has dtype {values.dtype}: it must be uint8, uint16, bool or float."
        )
    if not np.isfinite(values).all():
        raise ValueError(f"{name} holds NaN or infinite values: floats must lie in [0, 1].")
    low, high = values.min(), values.max()
    if low < -_ROUNDING or high > 1 + _ROUNDING:
        raise ValueError(f"{name} holds {low:g} to {high:g}: floats must lie in [0, 1].")
    return np.rint(values.clip(0, 1).astype(np.float32) * 255).astype(np.uint8)
