"""One image of any kind as an RGB image, and streams of images as batches of pixels."""

import io
import struct
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import Any, TypeAlias

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from clipn.errors import DataError

__all__ = ["ImageSource", "LoadedBatch", "load_batches", "name_source", "read_image"]

ImageSource: TypeAlias = str | Path | Image.Image | np.ndarray | Tensor | bytes
"""What is taken as one image: a path, encoded bytes, a PIL image, an array or a tensor."""

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

# What rounding in a resize may add to a value of 0 or 1.
_ROUNDING = 1e-5


@dataclass(frozen=True, kw_only=True)
class LoadedBatch:
    """One batch of `load_batches`: what could be read, and why the rest could not."""

    names: list[str]
    """What each image of the batch is called, unreadable ones included."""
    pixels: Float[Tensor, "batch 3 height width"] | None
    """The preprocessed images that could be read; None where there is none."""
    rows: list[int]
    """The position within the batch of each row of `pixels`, ascending."""
    errors: dict[int, str]
    """Why an image could not be read, by its position within the batch."""


def read_image(source: ImageSource) -> Image.Image:
    """Read an image of any kind as 8-bit RGB.

    Files, bytes and PIL images are turned upright by their EXIF orientation, transparency is put
    over white, and of an animation the first frame is taken (of a PIL image the current one).
    Wide values are scaled, never clipped: 16-bit ones and PIL's mode "I" hold 0 to 65535, floats
    and PIL's mode "F" hold 0 to 1.

    Args:
        source: A path, encoded bytes, a PIL image, an array of shape (height, width) or (height,
            width, 1 | 3 | 4), or a tensor of shape (height, width) or (1 | 3 | 4, height, width).
            Arrays and tensors are uint8, uint16, bool, or float in [0, 1].

    Returns:
        A new image of mode "RGB"; `source` keeps its pixels.

    Raises:
        DataError: The file, the bytes or the PIL image cannot be decoded, or has more pixels than
            `PIL.Image.MAX_IMAGE_PIXELS`.
        TypeError: `source` is of another type, or an array or tensor of another dtype.
        ValueError: An array or tensor of another shape, or with values outside its range.

    Examples:
        >>> import numpy as np
        >>> image = read_image(np.ones((2, 3)))
        >>> image.mode, image.size, image.getpixel((0, 0))
        ('RGB', (3, 2), (255, 255, 255))
    """
    name = name_source(source)
    if isinstance(source, Tensor):
        return _read_array(_channels_last(source, name), name)
    if isinstance(source, np.ndarray):
        return _read_array(source, name)
    if not isinstance(source, str | Path | bytes | Image.Image):
        raise TypeError(
            f"{name} is not an image: it must be a path, encoded bytes, a PIL image, an array or "
            "a tensor."
        )
    try:
        return _read_encoded(source)
    except _DECODING_ERRORS as error:
        # An OSError of the operating system repeats the path in its text.
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise DataError(f"{name} cannot be read as an image: {reason}") from error


def name_source(source: object) -> str:
    """Name an image in messages and tables.

    Args:
        source: Any `ImageSource`.

    Returns:
        The path as it was given; for anything else what it is and how large.

    Examples:
        >>> name_source("photos/cat.jpg"), name_source(b"GIF89a")
        ('photos/cat.jpg', '<6 bytes>')
    """
    if isinstance(source, str | Path):
        return str(source)
    if isinstance(source, bytes):
        return f"<{len(source)} bytes>"
    if isinstance(source, Image.Image):
        return f"<PIL image {source.width}x{source.height}>"
    if isinstance(source, Tensor):
        return f"<tensor {tuple(source.shape)}>"
    if isinstance(source, np.ndarray):
        return f"<array {source.shape}>"
    return f"<{type(source).__name__}>"


def load_batches(
    images: Iterable[ImageSource],
    preprocess: Callable[[Image.Image], Tensor],
    *,
    batch_size: int,
    num_workers: int = 2,
) -> Iterator[LoadedBatch]:
    """Read and preprocess a stream of images in threads, batch by batch and in order.

    `images` may be endless: it is read at most two batches ahead of the batch that is handed out.
    An image that cannot be read, or that `preprocess` refuses with ValueError or TypeError, is
    reported in `LoadedBatch.errors`; whatever else goes wrong ends the stream.

    Args:
        images: Any iterable of images, read lazily.
        preprocess: Turns an RGB image into float pixels (3, height, width), always of one size;
            called from several threads.
        batch_size: Images a batch; the last one may be smaller.
        num_workers: Threads.

    Returns:
        An iterator of batches. Closing it stops the threads.

    Raises:
        TypeError: `images` is a single image.
        ValueError: `batch_size` or `num_workers` is below 1.
    """
    if isinstance(images, str | bytes | Path | Image.Image):
        raise TypeError(f"images must be an iterable of images; got one, {name_source(images)}.")
    for option, value in (("batch_size", batch_size), ("num_workers", num_workers)):
        if value < 1:
            raise ValueError(f"{option} must be at least 1; got {value}.")
    # A generator of its own, so that wrong arguments are refused before the first batch.
    return _generate_batches(images, preprocess, batch_size, num_workers)


def _generate_batches(
    images: Iterable[ImageSource],
    preprocess: Callable[[Image.Image], Tensor],
    batch_size: int,
    num_workers: int,
) -> Iterator[LoadedBatch]:
    executor = ThreadPoolExecutor(num_workers, thread_name_prefix="clipn-images")
    stream = iter(images)
    pending: deque[tuple[str, Future[Tensor | str]]] = deque()

    def submit(count: int) -> None:
        for image in islice(stream, count):
            pending.append((name_source(image), executor.submit(_load, image, preprocess)))

    try:
        submit(2 * batch_size)
        while pending:
            batch = [pending.popleft() for _ in range(min(batch_size, len(pending)))]
            loaded = _collect([(name, future.result()) for name, future in batch])
            submit(batch_size)
            yield loaded
    finally:
        executor.shutdown(cancel_futures=True)


def _load(image: Any, preprocess: Callable[[Image.Image], Tensor]) -> Tensor | str:
    """The pixels of an image, or why there are none."""
    try:
        return preprocess(read_image(image))
    except (DataError, TypeError, ValueError) as error:
        return str(error)


def _collect(batch: list[tuple[str, Tensor | str]]) -> LoadedBatch:
    pixels = {row: result for row, (_, result) in enumerate(batch) if isinstance(result, Tensor)}
    return LoadedBatch(
        names=[name for name, _ in batch],
        pixels=torch.stack(list(pixels.values())) if pixels else None,
        rows=list(pixels),
        errors={row: result for row, (_, result) in enumerate(batch) if isinstance(result, str)},
    )


def _read_encoded(source: str | Path | bytes | Image.Image) -> Image.Image:
    if isinstance(source, Image.Image):
        with _DECODING[id(source) % len(_DECODING)]:
            return _decode(source)
    if isinstance(source, bytes):
        return _decode(_open(io.BytesIO(source)))
    path = Path(source)
    # Opening a pipe would wait for a writer.
    if path.exists() and not path.is_file() and not path.is_dir():
        raise OSError("it is not a regular file")
    with path.open("rb") as file:
        return _decode(_open(file))


def _open(file: io.BufferedReader | io.BytesIO) -> Image.Image:
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
            _check_size(image)
            return image
    raise UnidentifiedImageError(f"it is in none of the known formats ({', '.join(_FORMATS)})")


def _check_size(image: Image.Image) -> None:
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and image.width * image.height > limit:
        raise Image.DecompressionBombError(
            f"its {image.width} x {image.height} pixels are more than PIL.Image.MAX_IMAGE_PIXELS, "
            f"{limit}"
        )


def _decode(image: Image.Image) -> Image.Image:
    if not image.width * image.height:
        raise ValueError("it has no pixels")
    image.load()
    image = _turn_upright(image)
    if image.mode == "F" or image.mode.startswith("I"):
        return _narrow(image).convert("RGB")
    return _put_over_white(image)


def _turn_upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except _DECODING_ERRORS:
        # Damaged metadata are common on the web and say nothing about the pixels.
        return image.copy()


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
        return image.convert("RGB")
    image = image.convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image).convert("RGB")


def _channels_last(pixels: Tensor, name: str) -> np.ndarray:
    if not (pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[0] in (1, 3, 4))):
        raise ValueError(
            f"{name} is not one image: a tensor must be of shape (height, width) or "
            "(1 | 3 | 4, height, width)."
        )
    # numpy has no bfloat16.
    pixels = pixels.float() if pixels.dtype == torch.bfloat16 else pixels
    values = pixels.detach().cpu().numpy()
    return values if values.ndim == 2 else values.transpose(1, 2, 0)


def _read_array(values: np.ndarray, name: str) -> Image.Image:
    if not (values.ndim == 2 or (values.ndim == 3 and values.shape[2] in (1, 3, 4))):
        raise ValueError(
            f"{name} is not one image: an array must be of shape (height, width) or "
            "(height, width, 1 | 3 | 4)."
        )
    if not values.size:
        raise ValueError(f"{name} has no pixels: height and width must be at least 1.")
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
