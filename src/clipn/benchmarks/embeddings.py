"""Image embeddings of a set, made once for all suites and scores that share it."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from PIL import Image
from torch import Tensor

from clipn.benchmarks.native import NativeForm
from clipn.benchmarks.opening import name_reason
from clipn.data.image_batches import load_batches
from clipn.data.image_sets import ImageSet
from clipn.data.row_cache import cached_rows
from clipn.model import CLIPN

FORMAT_VERSION = 1
MakeRows = Callable[[Float[Tensor, "batch 3 height width"], list[int]], Tensor]
"""Maps preprocessed pixels, and the numbers of their images in the set, to rows, (batch, dim)."""


@dataclass(frozen=True, kw_only=True)
class EmbeddingOptions:
    """How the images of a suite are read and embedded.

    Attributes:
        cache_dir: Where rows are kept; made if missing.
        native: The form that every image is brought to first; None leaves images as they are.
        batch_size: Images embedded at once.
        num_workers: Threads that read images.
        on_rows: Called with (set name, rows done, rows in all) while a set is embedded.
    """

    cache_dir: Path
    native: NativeForm | None = None
    batch_size: int = 64
    num_workers: int = 2
    on_rows: Callable[[str, int, int], None] | None = None


@dataclass(frozen=True, kw_only=True)
class Rows:
    """A row for every image of a set.

    Attributes:
        values: (images, dim), memory-mapped; NaN where an image could not be read.
        reasons: Why, by the number of the image.
    """

    values: Float[np.ndarray, "images dim"]
    reasons: dict[int, str]

    @property
    def is_readable(self) -> Bool[np.ndarray, " images"]:
        """Which images could be read."""
        readable = np.ones(len(self.values), dtype=bool)
        readable[list(self.reasons)] = False
        return readable


def embed_set(model: CLIPN, image_set: ImageSet, options: EmbeddingOptions) -> Rows:
    """Embed the images of a set, or read their embeddings where that was done before.

    Args:
        model: Its image tower embeds.
        image_set: The images.
        options: How.

    Returns:
        L2-normalised embeddings in float32.

    Raises:
        DataError: If the cache cannot be read or belongs to something else.
    """

    @torch.inference_mode()
    def embed(
        pixels: Float[Tensor, "batch 3 height width"], _: list[int]
    ) -> Float[Tensor, "batch dim"]:
        """Embed a batch of preprocessed images."""
        return model.encode_image(pixels)

    dim = model.source.architecture["embed_dim"]
    return map_set(model, image_set, embed, options, dim=dim, kind="embedding")


def map_set(
    model: CLIPN,
    image_set: ImageSet,
    make_rows: MakeRows,
    options: EmbeddingOptions,
    *,
    dim: int,
    kind: str,
) -> Rows:
    """Make a row of every image of a set and keep the rows; an interrupted pass goes on.

    Args:
        model: Whose preprocessing is used; part of the rows' identity.
        image_set: The images.
        make_rows: Called with batches of preprocessed pixels, in the order of the images.
        options: How to read them.
        dim: Values of a row.
        kind: What the rows are; part of their identity, so it must tell apart what differs.
    """
    identity = {
        "format_version": FORMAT_VERSION,
        "kind": kind,
        "model_fingerprint": model.fingerprint("image" if kind == "embedding" else "all"),
        "data_fingerprint": image_set.fingerprint,
        "native": asdict(options.native) if options.native else None,
    }
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]

    values, reasons = cached_rows(
        options.cache_dir / f"{image_set.name}-{digest}",
        num_rows=len(image_set.images),
        identity=identity,
        make_block=partial(_make_block, model, image_set, make_rows, dim, options),
        on_rows=partial(options.on_rows, image_set.name) if options.on_rows else None,
    )
    return Rows(values=values, reasons=reasons)


def _make_block(
    model: CLIPN,
    image_set: ImageSet,
    make_rows: MakeRows,
    dim: int,
    options: EmbeddingOptions,
    block: range,
) -> tuple[Float[np.ndarray, "rows dim"], dict[int, str]]:
    """Read the images of a block and make their rows."""

    def preprocess(image: Image.Image) -> Tensor:
        """An image of any size as the pixels that the tower takes."""
        return model.preprocess(options.native.bring(image) if options.native else image)

    batches = load_batches(
        (partial(image_set.images.__getitem__, row) for row in block),
        preprocess,
        batch_size=options.batch_size,
        num_workers=options.num_workers,
    )
    values = np.full((len(block), dim), np.nan, dtype=np.float32)
    reasons: dict[int, str] = {}
    for first, batch in zip(block[:: options.batch_size], batches, strict=True):
        reasons |= {
            first + row: name_reason(image_set.ids[first + row], why)
            for row, why in batch.errors.items()
        }
        if batch.pixels is not None:
            numbers = [first + row for row in batch.rows]
            made = make_rows(batch.pixels, numbers).float().cpu().numpy()
            values[np.array(numbers) - block.start] = made
    return values, reasons
