"""How many pairs there are, and which files are not whole, without reading the images."""

import json
import tarfile
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

from webdataset.tariterators import base_plus_ext

from clipn.data.pair_formats import IMAGE_SUFFIXES
from clipn.data.pair_shards import BROKEN, BrokenShard, FileShard
from clipn.data.pairs import Shard

CountSource = Literal["rows", "statistics", "headers", "size"]
TAR_BLOCK, TAR_MAGIC = 512, slice(257, 262)


@dataclass(frozen=True, kw_only=True)
class PairCount:
    """How many pairs a data set has, and how that is known."""

    num_pairs: int
    """Usable or not; those of broken shards are left out."""

    num_shards: int
    """Broken or not."""

    sources: dict[CountSource, int]
    """How many shards were counted in which way: by the rows of the table, by the statistics that
    img2dataset leaves beside a tar, by the headers of a tar, or only estimated from its size."""

    broken: tuple[str, ...]
    """What is wrong with each broken shard."""

    doubts: tuple[str, ...]
    """What does not fit together, though nothing is broken."""


@runtime_checkable
class _HasRows(Protocol):
    """A shard that is some rows of a table."""

    @property
    def rows(self) -> range:
        """Which rows."""
        ...


def count_pairs(shards: Sequence[Shard], *, opened: Collection[int]) -> PairCount:
    """Count the pairs of a data set.

    A table knows its rows. Of a tar, img2dataset's `00042_stats.json` beside `00042.tar` is asked;
    where there is none, the headers of the opened tars are counted and the others taken to hold as
    many pairs a byte.

    Args:
        shards: Of the data set.
        opened: Numbers of the shards whose headers are read, also to check the statistics.
    """
    tally = _Tally()
    for index, shard in enumerate(shards):
        if problem := _damage(shard):
            tally.broken.append(f"{shard.name}: {problem}")
        elif isinstance(shard, _HasRows):
            tally.count(len(shard.rows), "rows")
        elif isinstance(shard, FileShard):
            tally.count_tar(shard, is_opened=index in opened)
    tally.estimate()
    return PairCount(
        num_pairs=tally.num_pairs,
        num_shards=len(shards),
        sources=dict(tally.sources),
        broken=tuple(tally.broken),
        doubts=(*tally.doubts, *_unfinished(shards)),
    )


@dataclass(kw_only=True)
class _Tally:
    """The counts so far, and what the tars without one are estimated from."""

    num_pairs: int = 0
    sources: Counter[CountSource] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    uncounted_sizes: list[int] = field(default_factory=list)
    opened_bytes: int = 0
    opened_pairs: int = 0

    def count(self, num_pairs: int, source: CountSource) -> None:
        """Count a shard in."""
        self.num_pairs += num_pairs
        self.sources[source] += 1

    def count_tar(self, tar: FileShard, *, is_opened: bool) -> None:
        """Count a tar in, by its headers or by what is said of it."""
        stated, size = _stated_count(tar.path), tar.path.stat().st_size
        if is_opened:
            try:
                found = _count_headers(tar.path)
            except BROKEN as error:
                self.broken.append(f"{tar.name}: {error}")
                return
            self.count(found, "headers")
            self.opened_bytes += size
            self.opened_pairs += found
            if stated not in (None, found):
                self.doubts.append(f"{tar.name} holds {found} images; its statistics say {stated}.")
        elif stated is None:
            self.uncounted_sizes.append(size)
        else:
            self.count(stated, "statistics")

    def estimate(self) -> None:
        """Count in the tars that nothing is known of but their size."""
        pairs_a_byte = self.opened_pairs / max(1, self.opened_bytes)
        for size in self.uncounted_sizes:
            self.count(round(size * pairs_a_byte), "size")


def _damage(shard: Shard) -> str | None:
    """Why a shard cannot be whole, as far as that can be told without reading it."""
    if isinstance(shard, BrokenShard):
        return shard.reason
    if isinstance(shard, _HasRows) or not isinstance(shard, FileShard):
        return None
    size = shard.path.stat().st_size
    if not size:
        return "the file is empty"
    with shard.path.open("rb") as file:
        if file.read(TAR_BLOCK)[TAR_MAGIC] != b"ustar":
            return None  # compressed, or too old to be told
        file.seek(max(0, size - TAR_BLOCK))
        if size % TAR_BLOCK or any(file.read()):
            return "it lacks the mark at the end of a whole tar: cut short?"
    return None


def _stated_count(tar: Path) -> int | None:
    """What img2dataset says of a tar, None where it says nothing."""
    try:
        count = json.loads(_statistics_of(tar).read_text(encoding="utf-8"))["successes"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return count if isinstance(count, int) else None


def _count_headers(tar: Path) -> int:
    """The number of images in a tar; goes from header to header where it is not compressed."""
    keys = set()
    with tarfile.open(tar, encoding="utf-8", errors="backslashreplace") as archive:
        for member in archive:
            key, suffix = base_plus_ext(member.name)
            if suffix is not None and suffix.lower() in IMAGE_SUFFIXES:
                keys.add(key)
    return len(keys)


def _unfinished(shards: Sequence[Shard]) -> list[str]:
    """Tars without the statistics that others have: img2dataset writes them when a tar is done."""
    tars = [s for s in shards if isinstance(s, FileShard) and not isinstance(s, _HasRows)]
    lacking = [shard.name for shard in tars if not _statistics_of(shard.path).exists()]
    if not lacking or len(lacking) == len(tars):
        return []
    return [
        f"{len(lacking)} of {len(tars)} tars lack img2dataset's statistics, the first {lacking[0]}:"
        " their download may not be finished."
    ]


def _statistics_of(tar: Path) -> Path:
    """Where img2dataset says how a tar went."""
    return tar.with_name(f"{tar.name.split('.')[0]}_stats.json")
