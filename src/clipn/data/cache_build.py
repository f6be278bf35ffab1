"""Embed caption pairs once, shard by shard: an interrupted build goes on where it stopped."""

import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clipn import distributed
from clipn.data.cache_merge import (
    BUILDING,
    PARTS,
    Tally,
    drop_parts,
    merge_parts,
    part_stem,
    read_note,
)
from clipn.data.cache_shards import BuildSettings, PairEncoder, embed_shard
from clipn.data.embedding_cache import MANIFEST, EmbeddingCache, check_identity, read_manifest
from clipn.data.pairs import Shard
from clipn.files import write_json
from clipn.locking import hold_folder

__all__ = ["BuildSettings", "PairEncoder", "build_cache", "find_cache"]

FORMAT_VERSION = 2


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

    Where another process builds the same cache, its end is waited for.

    With several ranks each embeds its share of the shards and the first puts them together. All
    of them need the same folder. An error of one rank ends all (see `distributed.FailTogether`).

    Args:
        shards: From `clipn.data.pairs.open_pairs`.
        encoder: The frozen towers.
        folder: Of the cache; an interrupted build in it is continued.
        settings: How to embed.
        data_settings: What else the result depends on; part of the data's fingerprint.
        on_shard: Called with (shards done, shards in all) after each round of a shard a rank.

    Returns:
        The finished cache.

    Raises:
        DataError: If the folder belongs to other data or another model, no pair can be used, or
            more than `max_bad_share` cannot.
        OSError: If it cannot be written, as on a full disk. What was finished stays, and the next
            call goes on from there.
        RankError: If another rank failed or is gone.
    """
    identity = _identify(shards, encoder, settings, data_settings or {})
    with ExitStack() as stack:
        with distributed.FailTogether():
            is_whole = (folder / MANIFEST).exists() and not (folder / BUILDING).exists()
            if distributed.rank() == 0 and not is_whole:
                stack.enter_context(hold_folder(folder))
        if not _open_folder(folder, identity):
            _embed_shards(shards, encoder, folder, settings, identity=identity, on_shard=on_shard)
        return EmbeddingCache(folder)


def _embed_shards(
    shards: Sequence[Shard],
    encoder: PairEncoder,
    folder: Path,
    settings: BuildSettings,
    *,
    identity: dict[str, Any],
    on_shard: Callable[[int, int], None] | None,
) -> None:
    """Embed the shards that are not embedded yet, and put all together."""
    tally = Tally(max_bad_share=settings.max_bad_share)
    # In rounds of a shard a rank, so that no rank goes on for long after another has failed, and
    # all count the same and stop at the same shard.
    for first in range(0, len(shards), distributed.world_size()):
        index, note = first + distributed.rank(), None
        with distributed.FailTogether():
            if index < len(shards):
                stem = part_stem(folder, index)
                if not stem.with_suffix(".json").exists():
                    embed_shard(shards[index], index, encoder, stem, settings)
                note = read_note(stem)
        for of_rank in distributed.exchange(note):
            if of_rank is not None:
                tally.add(of_rank, num_shards=len(shards))
        if on_shard:
            on_shard(tally.num_shards, len(shards))
    with distributed.FailTogether():
        if distributed.rank() == 0:
            merge_parts(
                folder,
                num_shards=len(shards),
                identity=identity,
                max_bad_share=settings.max_bad_share,
            )


@dataclass(frozen=True, kw_only=True)
class FoundCache:
    """What there is of a cache."""

    num_finished: int
    """Shards that are embedded."""

    data_fingerprint: str
    """Of the pairs that it is to be built from."""


def find_cache(
    shards: Sequence[Shard], encoder: PairEncoder, folder: Path, settings: BuildSettings
) -> FoundCache:
    """See how much of a cache is built already, without changing anything.

    Args:
        shards: As for `build_cache`.
        encoder: As for `build_cache`.
        folder: Of the cache; it need not exist.
        settings: As for `build_cache`.

    Raises:
        DataError: If the folder belongs to other data or another model.
    """
    identity = _identify(shards, encoder, settings, {})
    num_finished = len(list((folder / PARTS).glob("*.json")))
    for name in (MANIFEST, BUILDING):
        if (folder / name).exists():
            check_identity(folder, read_manifest(folder / name), identity)
            num_finished = len(shards) if name == MANIFEST else num_finished
            break
    return FoundCache(num_finished=num_finished, data_fingerprint=identity["data_fingerprint"])


def _identify(
    shards: Sequence[Shard],
    encoder: PairEncoder,
    settings: BuildSettings,
    data_settings: dict[str, Any],
) -> dict[str, Any]:
    """All that a cache depends on."""
    return {
        "format_version": FORMAT_VERSION,
        "model_fingerprint": encoder.fingerprint("frozen"),
        "data_fingerprint": _fingerprint(shards, data_settings),
        "num_views": settings.num_views,
        "augment": str(settings.augment) if settings.num_views > 1 else None,
        "seed": settings.seed if settings.num_views > 1 else None,
        "dtype": settings.dtype,
        "negated_templates": list(settings.negated_templates),
    }


def _open_folder(folder: Path, identity: dict[str, Any]) -> bool:
    """Begin a cache, or check that what is there is made from the same; whether it is finished."""
    with distributed.FailTogether():
        is_new = not any((folder / name).exists() for name in (MANIFEST, BUILDING))
        if distributed.rank() == 0 and is_new:
            write_json(folder / BUILDING, identity)
    is_finished = (folder / MANIFEST).exists()
    with distributed.FailTogether():
        begun = folder / (MANIFEST if is_finished else BUILDING)
        check_identity(folder, read_manifest(begun), identity)
        if is_finished and distributed.rank() == 0:
            drop_parts(folder)
    return is_finished


def _fingerprint(shards: Sequence[Shard], data_settings: dict[str, Any]) -> str:
    """Hash of all shards and settings."""
    parts = [(shard.name, shard.fingerprint) for shard in shards]
    text = json.dumps([parts, data_settings], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
