"""Embed one shard of caption pairs: its arrays, and a note that they are whole."""

import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from clipn.data.captions import negate_caption
from clipn.data.image_batches import map_batches
from clipn.data.images import ImageSource, read_image
from clipn.data.pairs import BadPair, Pair, Shard
from clipn.errors import DataError
from clipn.files import write_aside, write_json

log = logging.getLogger(__name__)

MAX_SHORT_TOKEN = np.iinfo(np.uint16).max
NUM_REASONS = 20  # of bad pairs, kept to look at


@runtime_checkable
class PairEncoder(Protocol):
    """The frozen towers, as the build needs them; `clipn.model.CLIPN` is one."""

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """Texts to token ids, (batch, length), cut where that is exact."""
        ...

    def encode_text(self, texts: Tensor) -> Tensor:
        """Token ids to L2-normalised embeddings, (batch, dim)."""
        ...

    def encode_image(self, images: Tensor) -> Tensor:
        """Transformed images to L2-normalised embeddings, (batch, dim)."""
        ...

    def fingerprint(self, part: Literal["frozen"]) -> str:
        """Hash of the towers' weights."""
        ...


@dataclass(frozen=True, kw_only=True)
class BuildSettings:
    """How pairs are embedded.

    Attributes:
        transform: Makes a tensor of an image, where there is one view of each.
        augment: Draws a view of an image from a generator, where there are several; what its
            `str()` says is part of the cache's identity.
        num_views: Views of each image; training draws one of them at each step.
        batch_size: Images (views, captions) embedded at once.
        num_workers: Threads that read and transform images; they change nothing in the cache.
        dtype: Precision of the stored embeddings.
        max_bad_share: Share of unusable pairs, and of broken shards, that ends the build.
        seed: Of the views.
        negated_templates: Word the "no" of captions that bring none, for the hand-crafted variant.
    """

    transform: Callable[[Image.Image], Tensor]
    augment: Callable[[Image.Image, np.random.Generator], Tensor] | None = None
    num_views: int = 1
    batch_size: int = 256
    num_workers: int = 2
    dtype: Literal["float16", "float32"] = "float16"
    max_bad_share: float = 0.05
    seed: int = 0
    negated_templates: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.num_views < 1:
            raise ValueError(f"num_views must be at least 1; got {self.num_views}.")
        if self.num_views > 1 and self.augment is None:
            raise ValueError(f"{self.num_views} views of each image need augment; got None.")
        if not 0 <= self.max_bad_share < 1:
            raise ValueError(f"max_bad_share must lie in [0, 1); got {self.max_bad_share}.")


def embed_shard(
    shard: Shard, index: int, encoder: PairEncoder, stem: Path, settings: BuildSettings
) -> None:
    """Embed one shard and write its arrays, then the note that says they are whole.

    Args:
        shard: What to embed.
        index: Its number; the draws of its views depend on it, on the seed, the row and the view.
        encoder: The frozen towers.
        stem: Where to write, without the suffix: the arrays to .npz, the note to .json.
        settings: How to embed.

    Raises:
        DataError: If only some of its pairs bring a "no".
        OSError: If the arrays cannot be written.
    """
    reader = _ShardReader(shard, settings.negated_templates)
    images = _embed_images(reader, index, encoder, settings)
    arrays = _embed_captions(reader.usable_pairs(), encoder, settings)
    arrays["image"] = images
    with write_aside(stem.with_suffix(".npz")) as aside, aside.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
    num_bad = len(reader.reasons) - reader.is_broken  # the break is a reason, but no pair
    note = {
        "name": shard.name,
        "num_rows": len(arrays["image"]),
        "num_captions": len(arrays["yes"]),
        "num_bad": num_bad,
        "is_broken": reader.is_broken,
        "reasons": reader.reasons[:NUM_REASONS],
    }
    if reader.reasons:
        log.warning("%s: left out %d pairs; %s", shard.name, num_bad, reader.reasons[0])
    write_json(stem.with_suffix(".json"), note)


class _ShardReader:
    """Hands the images of a shard on, keeps the rest of its pairs, and counts what is bad."""

    def __init__(self, shard: Shard, negated_templates: tuple[str, ...]) -> None:
        self.shard = shard
        self.negated_templates = negated_templates
        self.pairs: list[Pair] = []
        self.bad_rows: set[int] = set()
        self.reasons: list[str] = []
        self.is_broken = False

    def images(self) -> Iterator[bytes | Path]:
        """The images of all pairs that have one; a broken shard just ends."""
        try:
            for pair in self.shard.read():
                if isinstance(pair, BadPair):
                    self.reasons.append(f"{self.shard.name}/{pair.key}: {pair.reason}")
                    continue
                try:
                    self.pairs.append(self._without_image(pair))
                except ValueError as error:  # a caption without a word to negate
                    self.reasons.append(f"{self.shard.name}/{pair.key}: {error}")
                    continue
                yield pair.image
        except DataError as error:
            self.is_broken = True
            self.reasons.append(str(error))

    def _without_image(self, pair: Pair) -> Pair:
        """The captions of a pair, each with its "no" where that has to be worded."""
        if not self.negated_templates or pair.no_captions:
            return replace(pair, image=b"")
        worded = [
            (caption, no)
            for caption in pair.captions
            for no in negate_caption(caption, self.negated_templates)
        ]
        captions, no_captions = zip(*worded, strict=True)
        return replace(pair, image=b"", captions=captions, no_captions=no_captions)

    def refuse(self, row: int, reason: str) -> None:
        """Note that the image of a pair cannot be read."""
        self.bad_rows.add(row)
        self.reasons.append(f"{self.shard.name}/{self.pairs[row].key}: {reason}")

    def usable_pairs(self) -> list[Pair]:
        """The pairs whose images were embedded, in order."""
        return [pair for row, pair in enumerate(self.pairs) if row not in self.bad_rows]


@torch.inference_mode()
def _embed_images(
    reader: _ShardReader, index: int, encoder: PairEncoder, settings: BuildSettings
) -> np.ndarray:
    """Embed the readable images of a shard; (images, views, dim)."""
    embeddings, first = [], 0
    # Batches of whole images whose views together fill the tower's batch.
    batches = map_batches(
        reader.images(),
        partial(_load_views, settings, index),
        batch_size=max(1, settings.batch_size // settings.num_views),
        num_workers=settings.num_workers,
    )
    for batch in batches:
        for position, reason in batch.errors.items():
            reader.refuse(first + position, reason)
        if batch.pixels is not None:
            # (images, views, 3, height, width) -> (images * views, 3, height, width)
            rows = encoder.encode_image(batch.pixels.flatten(0, 1)).cpu().numpy()
            embeddings.append(rows.reshape(len(batch.pixels), settings.num_views, -1))
        first += len(batch.names)
    if not embeddings:
        return np.zeros((0, settings.num_views, 0), dtype=settings.dtype)
    return np.concatenate(embeddings).astype(settings.dtype)


def _load_views(settings: BuildSettings, index: int, row: int, source: ImageSource) -> Tensor:
    """Decode an image once and make its views; (views, 3, height, width)."""
    image = read_image(source)
    if settings.num_views == 1:
        return settings.transform(image)[None]
    assert settings.augment is not None
    generators = (
        np.random.default_rng((settings.seed, index, row, view))
        for view in range(settings.num_views)
    )
    return torch.stack([settings.augment(image, generator) for generator in generators])


@torch.inference_mode()
def _embed_captions(
    pairs: Sequence[Pair], encoder: PairEncoder, settings: BuildSettings
) -> dict[str, np.ndarray]:
    """Embed every distinct set of captions once; rows point into the sets."""
    first_caption: dict[tuple[tuple[str, ...], tuple[str, ...]], int] = {}
    captions: list[str] = []
    no_captions: list[str] = []
    for pair in pairs:
        key = (pair.captions, pair.no_captions)
        if key not in first_caption:
            first_caption[key] = len(captions)
            captions += pair.captions
            no_captions += pair.no_captions
    if no_captions and len(no_captions) != len(captions):
        raise DataError(
            "Some pairs of a shard have hand-crafted 'no' captions and others have none."
        )
    tokens = _tokenize(captions, encoder)
    arrays = {
        "first_caption": np.array(
            [first_caption[pair.captions, pair.no_captions] for pair in pairs], dtype=np.int64
        ),
        "num_captions": np.array([len(pair.captions) for pair in pairs], dtype=np.int64),
        "class_id": np.array([pair.class_id for pair in pairs], dtype=np.int64),
        "caption_key": np.array([_caption_key(caption) for caption in captions], dtype=np.int64),
        "tokens": tokens,
        "yes": _encode_by_length(tokens, encoder, settings),
    }
    if no_captions:
        arrays["no_tokens"] = _tokenize(no_captions, encoder)
    return arrays


def _tokenize(texts: list[str], encoder: PairEncoder) -> np.ndarray:
    """Token ids of all texts at the length of the longest, in few bytes; (texts, length)."""
    if not texts:
        return np.zeros((0, 0), dtype=np.uint16)
    tokens = encoder.tokenize(texts).cpu().numpy()
    return tokens.astype(np.uint16 if tokens.max() <= MAX_SHORT_TOKEN else np.int32)


def _encode_by_length(
    tokens: np.ndarray, encoder: PairEncoder, settings: BuildSettings
) -> np.ndarray:
    """Embed captions in batches of about one length, so that little is spent on padding."""
    if not len(tokens):
        return np.zeros((0, 0), dtype=settings.dtype)
    order = np.argsort((tokens != 0).sum(axis=1), kind="stable")
    parts = [
        encoder.encode_text(torch.from_numpy(tokens[rows].astype(np.int64))).cpu().numpy()
        for rows in np.array_split(order, -(-len(order) // settings.batch_size))
    ]
    return np.concatenate(parts)[np.argsort(order)].astype(settings.dtype)


def _caption_key(caption: str) -> int:
    """A 63-bit number, the same for equal captions (capitals and spaces do not tell two apart)."""
    text = " ".join(caption.split()).casefold()
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1
