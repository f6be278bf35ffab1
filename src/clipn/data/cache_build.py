"""Embed caption pairs once, shard by shard: an interrupted build goes on where it stopped."""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from clipn import distributed
from clipn.data.cache_merge import BUILDING, Tally, drop_parts, merge_parts, part_stem
from clipn.data.cache_shards import BuildSettings, PairEncoder, embed_shard
from clipn.data.embedding_cache import MANIFEST, EmbeddingCache, check_identity, read_manifest
from clipn.data.pairs import Shard
from clipn.files import write_json

__all__ = ["BuildSettings", "PairEncoder", "build_cache"]

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
        "augment": str(settings.augment) if settings.num_views > 1 else None,
        "seed": settings.seed if settings.num_views > 1 else None,
        "dtype": settings.dtype,
        "negated_templates": list(settings.negated_templates),
    }
    if (folder / MANIFEST).exists():
        check_identity(folder, read_manifest(folder / MANIFEST), identity)
        if distributed.rank() == 0:
            drop_parts(folder)
        return EmbeddingCache(folder)
    if (folder / BUILDING).exists():
        check_identity(folder, read_manifest(folder / BUILDING), identity)
    elif distributed.rank() == 0:
        write_json(folder / BUILDING, identity)
    tally = Tally(max_bad_share=settings.max_bad_share)
    own = range(distributed.rank(), len(shards), distributed.world_size())
    for index in own:
        stem = part_stem(folder, index)
        if not stem.with_suffix(".json").exists():
            embed_shard(shards[index], index, encoder, stem, settings)
        tally.add(read_manifest(stem.with_suffix(".json")), num_shards=len(shards))
        if on_shard:
            on_shard(tally.num_shards, len(own))
    distributed.wait_for_all()
    if distributed.rank() == 0:
        merge_parts(
            folder,
            num_shards=len(shards),
            identity=identity,
            max_bad_share=settings.max_bad_share,
        )
    distributed.wait_for_all()
    return EmbeddingCache(folder)


def _fingerprint(shards: Sequence[Shard], data_settings: dict[str, Any]) -> str:
    """Hash of all shards and settings."""
    parts = [(shard.name, shard.fingerprint) for shard in shards]
    text = json.dumps([parts, data_settings], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
