"""Put the embedded shards of a cache together, and say whether too much of them was bad.

Beside what is finished, an unfinished cache holds

    building.json       what it is made from
    parts/000007.npz    the arrays of shard 7
    parts/000007.json   how many rows they have and what was left out; written last
"""

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from clipn.data.array_file import read_arrays, write_array
from clipn.data.cache_shards import NUM_REASONS
from clipn.data.embedding_cache import ARRAYS, MANIFEST, read_manifest
from clipn.errors import DataError
from clipn.files import drop_asides, file_crc32, write_json

# Before that many pairs a share of bad ones says little; the end checks in any case.
MIN_SEEN = 1000
PARTS, BUILDING = "parts", "building.json"
NOTE = {
    "name": str,
    "num_rows": int,
    "num_captions": int,
    "num_bad": int,
    "is_broken": bool,
    "reasons": list,
}


@dataclass(kw_only=True)
class Tally:
    """What went wrong so far, and how much was seen.

    Attributes:
        max_bad_share: Share of unusable pairs, and of broken shards, that ends the build.
        num_pairs: Usable or not.
        num_bad: Of these, unusable.
        num_shards: Broken or not.
        num_broken_shards: Of these, broken.
        reasons: Why, of the first.
    """

    max_bad_share: float
    num_pairs: int = 0
    num_bad: int = 0
    num_shards: int = 0
    num_broken_shards: int = 0
    reasons: list[str] = field(default_factory=list)

    def add(self, note: dict[str, Any], *, num_shards: int) -> None:
        """Count a shard in.

        Args:
            note: What `embed_shard` wrote of it.
            num_shards: Of the whole data set.

        Raises:
            DataError: If too much is bad.
        """
        self.num_pairs += note["num_rows"] + note["num_bad"]
        self.num_bad += note["num_bad"]
        self.num_shards += 1
        self.num_broken_shards += note["is_broken"]
        self.reasons = (self.reasons + note["reasons"])[:NUM_REASONS]
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


def part_stem(folder: Path, index: int) -> Path:
    """Where the part of a shard is, without the suffix."""
    return folder / PARTS / f"{index:06d}"


def read_note(stem: Path) -> dict[str, Any]:
    """What `embed_shard` wrote of a part.

    Args:
        stem: Of the part, without the suffix.

    Raises:
        DataError: If it is missing or damaged.
    """
    path = stem.with_suffix(".json")
    note = read_manifest(path)
    for key, kind in NOTE.items():
        if not isinstance(note.get(key), kind):
            raise DataError(
                f"{path} is damaged: its {key} is {note.get(key)!r}. Delete it to embed that shard "
                "again."
            )
    return note


def merge_parts(
    folder: Path, *, num_shards: int, identity: dict[str, Any], max_bad_share: float
) -> None:
    """Put the parts together as memory-mapped arrays, write the manifest, drop the parts.

    Args:
        folder: Of the cache.
        num_shards: Each has its part.
        identity: What the cache is made from.
        max_bad_share: Share of unusable pairs, and of broken shards, that is an error.

    Raises:
        DataError: If too much is bad, no pair can be used, or a part is damaged.
        OSError: If an array cannot be written; the parts stay.
    """
    stems = [part_stem(folder, index) for index in range(num_shards)]
    notes = [read_note(stem) for stem in stems]
    tally = Tally(max_bad_share=max_bad_share)
    for note in notes:
        tally.add(note, num_shards=num_shards)
    for stem, note in zip(stems, notes, strict=True):
        _check_part(stem, note)
    filled = [stem for stem, note in zip(stems, notes, strict=True) if note["num_rows"]]
    if not filled:
        reasons = f" The first: {'; '.join(tally.reasons[:3])}." if tally.reasons else ""
        raise DataError(f"None of {tally.num_pairs} pairs can be used.{reasons}")
    first_captions = np.cumsum([0] + [note["num_captions"] for note in notes if note["num_rows"]])
    arrays = [name for name in ARRAYS if _merge_array(folder, name, filled, first_captions)]
    write_json(
        folder / MANIFEST,
        {
            **identity,
            "arrays": arrays,
            "crc32": {name: file_crc32(folder / f"{name}.npy") for name in arrays},
            "num_rows": sum(note["num_rows"] for note in notes),
            "num_captions": int(first_captions[-1]),
            "num_bad": tally.num_bad,
            "num_broken_shards": tally.num_broken_shards,
            "reasons": tally.reasons,
            "shards": [[note["name"], note["num_rows"]] for note in notes],
        },
    )
    drop_parts(folder)


def _check_part(stem: Path, note: dict[str, Any]) -> None:
    """Refuse a part that has not as many rows as its note says."""
    for name, key in (("image", "num_rows"), ("yes", "num_captions")):
        array = _read_part(stem, name)
        if array is None or len(array) != note[key]:
            held = "no" if array is None else len(array)
            raise DataError(
                f"{stem.with_suffix('.npz')} holds {held} rows of {name!r}, not {note[key]}. "
                f"Delete {stem.with_suffix('.json')} to embed that shard again."
            )


def drop_parts(folder: Path) -> None:
    """Remove what only an unfinished cache needs."""
    shutil.rmtree(folder / PARTS, ignore_errors=True)
    drop_asides(folder)
    (folder / BUILDING).unlink(missing_ok=True)


def _merge_array(folder: Path, name: str, stems: list[Path], first_captions: np.ndarray) -> bool:
    """Concatenate one array of all parts on disk, holding one part in memory at a time.

    Returns:
        Whether the parts have this array.
    """
    shapes, dtypes = {}, set()
    for stem in stems:
        if (part := _read_part(stem, name)) is not None:
            shapes[stem] = part.shape
            dtypes.add(part.dtype)
    if not shapes:  # no hand-crafted "no" captions
        return False
    if lacking := [stem for stem in stems if stem not in shapes]:
        raise DataError(
            f"{lacking[0].name}.npz lacks {name!r}, which other shards of the cache have."
        )
    # Tokens are as wide as the longest caption of their part; columns after the end token do not
    # count.
    inner = tuple(
        max(sizes) for sizes in zip(*(shape[1:] for shape in shapes.values()), strict=True)
    )
    num_rows = sum(shape[0] for shape in shapes.values())
    dtype = np.result_type(*dtypes)  # tokens of large vocabularies may be wider in some parts
    with write_array(folder / f"{name}.npy", shape=(num_rows, *inner), dtype=dtype) as append:
        for stem, first_caption in zip(stems, first_captions, strict=False):
            part = _read_part(stem, name)
            assert part is not None
            append(part + first_caption if name == "first_caption" else part)
    return True


def _read_part(stem: Path, name: str) -> np.ndarray | None:
    """An array of a part, None if the part has none of that name."""
    hint = f" Delete {stem.with_suffix('.json')} to embed that shard again."
    return read_arrays(stem.with_suffix(".npz"), names=[name], hint=hint).get(name)
