"""Embed caption pairs once, shard by shard: an interrupted build goes on where it stopped."""

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from clipn import distributed
from clipn.data.captions import negate_caption
from clipn.data.embedding_cache import (
    ARRAYS,
    MANIFEST,
    EmbeddingCache,
    check_identity,
    read_manifest,
)
from clipn.data.images import load_batches
from clipn.data.pairs import BadPair, Pair, Shard
from clipn.errors import DataError
from clipn.files import write_aside, write_json

log = logging.getLogger(__name__)

FORMAT_VERSION = 1
NUM_REASONS = 20  # of bad pairs, kept in the manifest to look at
MIN_SEEN = (
    1000  # before that many pairs, a share of bad ones says little; the end checks in any case
)
PARTS, BUILDING = "parts", "building.json"


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
        transform: Makes a tensor of an image; random where there are several views.
        num_views: Views of each image; training draws one of them at each step.
        batch_size: Images (or captions) embedded at once.
        num_workers: Threads that read and transform images; several views use one, so that the same
            seed gives the same views.
        dtype: Precision of the stored embeddings.
        max_bad_share: Share of unusable pairs, and of broken shards, that ends the build.
        seed: Of the views.
        negated_templates: Word the "no" of captions that bring none, for the hand-crafted variant.
    """

    transform: Callable[[Image.Image], Tensor]
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
        if not 0 <= self.max_bad_share < 1:
            raise ValueError(f"max_bad_share must lie in [0, 1); got {self.max_bad_share}.")


@dataclass(kw_only=True)
class _Tally:
    """What went wrong so far, and how much was seen."""

    max_bad_share: float
    num_pairs: int = 0
    num_bad: int = 0
    num_shards: int = 0
    num_broken_shards: int = 0
    reasons: list[str] = field(default_factory=list)

    def add(self, part: dict[str, Any], *, num_shards: int) -> None:
        """Count a shard in; end the build if too much is bad."""
        self.num_pairs += part["num_rows"] + part["num_bad"]
        self.num_bad += part["num_bad"]
        self.num_shards += 1
        self.num_broken_shards += part["is_broken"]
        self.reasons = (self.reasons + part["reasons"])[:NUM_REASONS]
        is_last = self.num_shards == num_shards
        if is_last or self.num_pairs >= MIN_SEEN:
            self._check(self.num_bad, self.num_pairs, "pairs cannot be used")
        self._check(self.num_broken_shards, num_shards, "shards are broken")

    def _check(self, num_bad: int, num_all: int, what: str) -> None:
        if num_bad > self.max_bad_share * num_all:
            raise DataError(
                f"{num_bad} of {num_all} {what}, more than the allowed share of "
                f"{self.max_bad_share:.1%}. The first: {'; '.join(self.reasons[:3])}."
            )


def build_cache(
    shards: Sequence[Shard],
    encoder: PairEncoder,
    folder: Path,
    settings: BuildSettings,
    *,
    data_settings: dict[str, Any] | None = None,
    on_shard: Callable[[int, int], None] | None = None,
) -> EmbeddingCache:
    """Embed pairs with frozen towers, or open the cache if that is done already.

    With several ranks each embeds its share of the shards and the first puts them together.

    Args:
        shards: From `clipn.data.pairs.open_pairs`.
        encoder: The frozen towers.
        folder: Of the cache; an interrupted build in it is continued.
        settings: How to embed.
        data_settings: What else the result depends on; part of the data's fingerprint.
        on_shard: Called with (shards done, shards in all) after each shard.

    Returns:
        The finished cache.

    Raises:
        DataError: If the folder belongs to other data or another model, no pair can be used, or
            more than `max_bad_share` cannot.
    """
    identity = {
        "format_version": FORMAT_VERSION,
        "model_fingerprint": encoder.fingerprint("frozen"),
        "data_fingerprint": _fingerprint(shards, data_settings or {}),
        "num_views": settings.num_views,
        "seed": settings.seed if settings.num_views > 1 else None,
        "dtype": settings.dtype,
    }
    if (folder / MANIFEST).exists():
        check_identity(folder, read_manifest(folder / MANIFEST), identity)
        return EmbeddingCache(folder)
    if (folder / BUILDING).exists():
        check_identity(folder, read_manifest(folder / BUILDING), identity)
    elif distributed.rank() == 0:
        write_json(folder / BUILDING, identity)
    tally = _Tally(max_bad_share=settings.max_bad_share)
    own = range(distributed.rank(), len(shards), distributed.world_size())
    for index in own:
        stem = folder / PARTS / f"{index:06d}"
        if not stem.with_suffix(".json").exists():
            _embed_shard(shards[index], index, encoder, stem, settings)
        tally.add(json.loads(stem.with_suffix(".json").read_text()), num_shards=len(own))
        if on_shard:
            on_shard(tally.num_shards, len(own))
    distributed.wait_for_all()
    if distributed.rank() == 0:
        _merge(folder, len(shards), identity, settings)
    distributed.wait_for_all()
    return EmbeddingCache(folder)


def _fingerprint(shards: Sequence[Shard], data_settings: dict[str, Any]) -> str:
    """Hash of all shards and settings."""
    parts = [(shard.name, shard.fingerprint) for shard in shards]
    text = json.dumps([parts, data_settings], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _embed_shard(
    shard: Shard, index: int, encoder: PairEncoder, stem: Path, settings: BuildSettings
) -> None:
    """Embed one shard and write its arrays, then the note that says they are whole."""
    views, reader = [], _ShardReader(shard, settings.negated_templates)
    for view in range(settings.num_views):
        reader = _ShardReader(shard, settings.negated_templates)
        with torch.random.fork_rng(devices=[]):
            entropy = np.random.SeedSequence((settings.seed, index, view))
            torch.manual_seed(int(entropy.generate_state(1)[0]))
            views.append(_embed_images(reader, encoder, settings))
    if len({len(view) for view in views}) > 1:
        raise DataError(f"Shard {shard.name} changed while it was read.")
    arrays = _embed_captions(reader.usable_pairs(), encoder, settings)
    arrays["image"] = np.stack(views, axis=1)
    with write_aside(stem.with_suffix(".npz")) as aside, aside.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
    note = {
        "name": shard.name,
        "num_rows": len(arrays["image"]),
        "num_captions": len(arrays["yes"]),
        "num_bad": len(reader.reasons),
        "is_broken": reader.is_broken,
        "reasons": reader.reasons[:NUM_REASONS],
    }
    if reader.reasons:
        log.warning("%s: %d pairs left out, %s", shard.name, len(reader.reasons), reader.reasons[0])
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
                self.pairs.append(self._without_image(pair))
                yield pair.image
        except DataError as error:
            self.is_broken = True
            self.reasons.append(str(error))

    def _without_image(self, pair: Pair) -> Pair:
        """The captions of a pair, each with its "no" where that has to be worded."""
        if not self.negated_templates or pair.no_captions:
            return replace(pair, image=b"")
        worded = [
            (c, no) for c in pair.captions for no in negate_caption(c, self.negated_templates)
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
    reader: _ShardReader, encoder: PairEncoder, settings: BuildSettings
) -> np.ndarray:
    """Embed the readable images of a shard; (images, dim)."""
    embeddings, first = [], 0
    num_workers = 1 if settings.num_views > 1 else settings.num_workers
    batches = load_batches(
        reader.images(),
        settings.transform,
        batch_size=settings.batch_size,
        num_workers=num_workers,
    )
    for batch in batches:
        for position, reason in batch.errors.items():
            reader.refuse(first + position, reason)
        if batch.pixels is not None:
            embeddings.append(encoder.encode_image(batch.pixels).cpu().numpy())
        first += len(batch.names)
    if not embeddings:
        return np.zeros((0, 0), dtype=settings.dtype)
    return np.concatenate(embeddings).astype(settings.dtype)


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
    """Token ids of all texts at the length of the longest; (texts, length)."""
    if not texts:
        return np.zeros((0, 0), dtype=np.int32)
    return encoder.tokenize(texts).cpu().numpy().astype(np.int32)


def _encode_by_length(
    tokens: np.ndarray, encoder: PairEncoder, settings: BuildSettings
) -> np.ndarray:
    """Embed captions in batches of about one length, so that little is spent on padding."""
    if not len(tokens):
        return np.zeros((0, 0), dtype=settings.dtype)
    order = np.argsort((tokens != 0).sum(axis=1), kind="stable")
    parts = [
        encoder.encode_text(torch.from_numpy(tokens[rows]).long()).cpu().numpy()
        for rows in np.array_split(order, -(-len(order) // settings.batch_size))
    ]
    return np.concatenate(parts)[np.argsort(order)].astype(settings.dtype)


def _caption_key(caption: str) -> int:
    """A 63-bit number, the same for equal captions (capitals and spaces do not tell two apart)."""
    text = " ".join(caption.split()).casefold()
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def _merge(
    folder: Path, num_shards: int, identity: dict[str, Any], settings: BuildSettings
) -> None:
    """Put the parts together as memory-mapped arrays, write the manifest, drop the parts."""
    stems = [folder / PARTS / f"{index:06d}" for index in range(num_shards)]
    tally = _Tally(max_bad_share=settings.max_bad_share)
    notes = [json.loads(stem.with_suffix(".json").read_text()) for stem in stems]
    for note in notes:
        tally.add(note, num_shards=num_shards)
    filled = [stem for stem, note in zip(stems, notes, strict=True) if note["num_rows"]]
    if not filled:
        reasons = f" The first: {'; '.join(tally.reasons[:3])}." if tally.reasons else ""
        raise DataError(f"None of {tally.num_pairs} pairs can be used.{reasons}")
    first_captions = np.cumsum([0] + [note["num_captions"] for note in notes if note["num_rows"]])
    for name in ARRAYS:
        _merge_array(folder, name, filled, first_captions)
    write_json(
        folder / MANIFEST,
        {
            **identity,
            "num_rows": sum(note["num_rows"] for note in notes),
            "num_captions": int(first_captions[-1]),
            "num_bad": tally.num_bad,
            "num_broken_shards": tally.num_broken_shards,
            "reasons": tally.reasons,
            "shards": [[note["name"], note["num_rows"]] for note in notes],
        },
    )
    for stem in stems:
        stem.with_suffix(".npz").unlink(missing_ok=True)
        stem.with_suffix(".json").unlink(missing_ok=True)
    (folder / PARTS).rmdir()
    (folder / BUILDING).unlink()


def _merge_array(folder: Path, name: str, stems: list[Path], first_captions: np.ndarray) -> None:
    """Concatenate one array of all parts on disk, holding one part in memory at a time."""

    def read(stem: Path) -> np.ndarray | None:
        with np.load(stem.with_suffix(".npz"), allow_pickle=False) as part:
            return part[name] if name in part.files else None

    first_part = read(stems[0])
    if first_part is None:  # no hand-crafted "no" captions
        return
    shapes = [_shape(read(stem), stem, name) for stem in stems]
    # Tokens are as wide as the longest caption of their part; columns after the end token do not
    # count.
    inner = tuple(max(sizes) for sizes in zip(*(shape[1:] for shape in shapes), strict=True))
    shape = (sum(shape[0] for shape in shapes), *inner)
    with write_aside(folder / f"{name}.npy") as aside:
        merged = np.lib.format.open_memmap(aside, mode="w+", dtype=first_part.dtype, shape=shape)
        start = 0
        for stem, first_caption in zip(stems, first_captions, strict=False):
            part = read(stem)
            assert part is not None
            if name == "first_caption":
                part = part + first_caption
            target = merged[start : start + len(part)]
            target[(slice(None), *(slice(size) for size in part.shape[1:]))] = part
            start += len(part)
        merged.flush()


def _shape(part: np.ndarray | None, stem: Path, name: str) -> tuple[int, ...]:
    """The shape of a part's array, or an error if it lacks what the first part has."""
    if part is None:
        raise DataError(f"{stem.name}.npz lacks {name!r}, which other shards of the cache have.")
    return part.shape
