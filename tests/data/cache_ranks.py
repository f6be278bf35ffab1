"""Runs on each of two ranks: builds caches that end well and others that do not.

The folder holds a model and pairs. Each rank leaves `rank-N.json`: for each build the number of
pairs, or the kind of error and its message.
"""

import json
import os
import resource
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch.distributed as dist

from clipn import distributed
from clipn.data.cache_build import build_cache
from clipn.data.cache_shards import BuildSettings
from clipn.data.pairs import open_pairs
from clipn.errors import ClipnError
from clipn.model import CLIPN, load_model


class OtherEncoder:
    """A model whose image tower does something else."""

    def __init__(self, model: CLIPN, encode_image: Callable[[Any], Any]) -> None:
        self.tokenize, self.encode_text = model.tokenize, model.encode_text
        self.fingerprint, self.encode_image = model.fingerprint, encode_image


class Ranks:
    """Builds caches, each rank with settings of its own, and keeps how that ended."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rank = distributed.rank()
        self.model = load_model(folder / "model")
        self.outcomes: dict[str, list[str | int]] = {}

    def build(
        self,
        name: str,
        *,
        pairs: str = "pairs",
        cache: str | None = None,
        encoders: tuple[Any, Any] = (None, None),
        dtypes: tuple[Any, Any] = ("float32", "float32"),
        max_bytes: tuple[int, int] = (resource.RLIM_INFINITY, resource.RLIM_INFINITY),
    ) -> None:
        """Build a cache of the pairs; what comes in twos is each rank's own."""
        settings = BuildSettings(transform=self.model.preprocess, dtype=dtypes[self.rank])
        shards = open_pairs(self.folder / f"{pairs}.csv", rows_per_shard=3)
        encoder = encoders[self.rank] or self.model
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (max_bytes[self.rank], hard))
        try:
            built = build_cache(
                shards, encoder, self.folder / (cache or name), replace(settings, num_workers=1)
            )
            self.outcomes[name] = [len(built)]
        except (ClipnError, OSError, RuntimeError) as error:
            self.outcomes[name] = [type(error).__name__, str(error)]
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        path = self.folder / f"rank-{self.rank}.json"
        path.write_text(json.dumps(self.outcomes))


def run_out_of_memory(images: Any) -> Any:
    """As a tower does."""
    raise RuntimeError("out of memory")


def die(images: Any) -> Any:
    """Without a word, as a process that is killed."""
    os._exit(0)


def main(folder: Path) -> None:
    """Build one after the other."""
    dist.init_process_group("gloo")
    ranks = Ranks(folder)
    unlimited = resource.RLIM_INFINITY
    ranks.build("uneven")
    ranks.build("one shard", pairs="few")
    ranks.build("bad pairs", pairs="bad")
    ranks.build("tower", encoders=(None, OtherEncoder(ranks.model, run_out_of_memory)))
    ranks.build("other settings", dtypes=("float32", "float16"))
    ranks.build("full disk", cache="disk", max_bytes=(unlimited, 1000))
    ranks.build("room again", cache="disk")
    ranks.build("full in the merge", cache="merge", pairs="many", max_bytes=(6000, unlimited))
    ranks.build("merged at last", cache="merge", pairs="many")
    ranks.build("gone", encoders=(None, OtherEncoder(ranks.model, die)))
