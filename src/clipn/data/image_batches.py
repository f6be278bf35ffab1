"""Streams of images as batches of pixels."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from jaxtyping import Float
from PIL import Image

from clipn.data.images import ImageSource, name_source, read_image
from clipn.errors import DataError

__all__ = ["LoadedBatch", "load_batches", "map_batches"]

Pixels = TypeVar("Pixels")
"""What `preprocess` makes of an image: a torch tensor, or an array where torch is not wanted."""


@dataclass(frozen=True, kw_only=True)
class LoadedBatch(Generic[Pixels]):
    """One batch of `load_batches`: what could be read, and why the rest could not."""

    names: list[str]
    """What each image of the batch is called, unreadable ones included."""
    pixels: Float[Pixels, "batch *views 3 height width"] | None
    """The preprocessed images that could be read; None where there is none."""
    rows: list[int]
    """The position within the batch of each row of `pixels`, ascending."""
    errors: dict[int, str]
    """Why an image could not be read, by its position within the batch."""


def load_batches(
    images: Iterable[ImageSource | Callable[[], ImageSource]],
    preprocess: Callable[[Image.Image], Pixels],
    *,
    batch_size: int,
    num_workers: int = 2,
    min_side: int | None = None,
) -> Iterator[LoadedBatch[Pixels]]:
    """Read and preprocess a stream of images in threads, batch by batch and in order.

    `images` may be endless: it is read at most two batches ahead of the batch that is handed out.
    An image that cannot be read, or that `preprocess` refuses with ValueError or TypeError, is
    reported in `LoadedBatch.errors`; whatever else goes wrong ends the stream.

    Args:
        images: Any iterable of images, read lazily; a function is called in a thread for its image.
        preprocess: Turns an RGB image into float pixels (3, height, width), always of one size;
            called from several threads.
        batch_size: Images a batch; the last one may be smaller.
        num_workers: Threads.
        min_side: Lets JPEG files be decoded smaller, as `read_image` says; None is exact.

    Returns:
        An iterator of batches. Closing it stops the threads.

    Raises:
        TypeError: `images` is a single image.
        ValueError: `batch_size` or `num_workers` is below 1.
    """

    def load(_: int, source: ImageSource) -> Pixels:
        """The pixels of an image, wherever it stands in the stream."""
        return preprocess(read_image(source, min_side=min_side))

    return map_batches(images, load, batch_size=batch_size, num_workers=num_workers)


def map_batches(
    images: Iterable[ImageSource | Callable[[], ImageSource]],
    load: Callable[[int, Any], Pixels],
    *,
    batch_size: int,
    num_workers: int = 2,
) -> Iterator[LoadedBatch[Pixels]]:
    """Load a stream of images as `load_batches` does, but with a function of one's own.

    Args:
        images: See `load_batches`.
        load: Makes pixels of an image, given its number in the stream, from 0, and its source;
            always of one shape, (3, height, width) or (views, 3, height, width). It is called from
            several threads; DataError, ValueError and TypeError are kept as the image's error.
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
    return _generate_batches(images, load, batch_size, num_workers)


def _generate_batches(
    images: Iterable[ImageSource | Callable[[], ImageSource]],
    load: Callable[[int, Any], Pixels],
    batch_size: int,
    num_workers: int,
) -> Iterator[LoadedBatch[Pixels]]:
    executor = ThreadPoolExecutor(num_workers, thread_name_prefix="clipn-images")
    stream = enumerate(images)
    pending: deque[tuple[str, Future[Pixels | str]]] = deque()

    def submit(count: int) -> None:
        """Start on the next images of the stream, if it has any left."""
        for number, image in islice(stream, count):
            pending.append((name_source(image), executor.submit(_load, load, number, image)))

    try:
        submit(2 * batch_size)
        while pending:
            batch = [pending.popleft() for _ in range(min(batch_size, len(pending)))]
            loaded = _collect([(name, future.result()) for name, future in batch])
            submit(batch_size)
            yield loaded
    finally:
        executor.shutdown(cancel_futures=True)


def _load(load: Callable[[int, Any], Pixels], number: int, image: Any) -> Pixels | str:
    """The pixels of an image, or why there are none."""
    try:
        return load(number, image() if callable(image) else image)
    except (DataError, TypeError, ValueError) as error:
        return str(error)


def _collect(batch: list[tuple[str, Pixels | str]]) -> LoadedBatch[Pixels]:
    pixels = {row: result for row, (_, result) in enumerate(batch) if not isinstance(result, str)}
    return LoadedBatch(
        names=[name for name, _ in batch],
        pixels=_stack(list(pixels.values())) if pixels else None,
        rows=list(pixels),
        errors={row: result for row, (_, result) in enumerate(batch) if isinstance(result, str)},
    )


def _stack(pixels: list[Any]) -> Any:
    if isinstance(pixels[0], np.ndarray):
        return np.stack(pixels)
    # Imported here because arrays do without it.
    import torch

    return torch.stack(pixels)
