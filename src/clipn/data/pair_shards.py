"""What the shards of all layouts share: how they break, are recognised and are cut."""

import csv
import hashlib
import tarfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from clipn.data.pair_rows import BadPair, Pair, PairColumns
from clipn.errors import DataError

__all__ = [
    "BROKEN",
    "BrokenShard",
    "FileShard",
    "check_columns",
    "file_digest",
    "range_digest",
    "range_name",
    "row_ranges",
]

FINGERPRINT_BYTES = 64 * 1024

BROKEN = (OSError, EOFError, UnicodeError, tarfile.TarError, csv.Error, pa.ArrowException)
"""What the readers raise for a file that is cut short, corrupt or gone."""


@dataclass(frozen=True, kw_only=True)
class BrokenShard:
    """A file that could not even be opened; reading it says so, as with any other broken shard."""

    name: str
    reason: str
    fingerprint: str = ""

    def read(self) -> Iterator[Pair | BadPair]:
        """Refuse to read.

        Raises:
            DataError: Always.
        """
        raise DataError(f"shard {self.name} is broken: {self.reason}")


@dataclass(frozen=True, kw_only=True)
class FileShard(ABC):
    """A file, or some rows of it; a layout adds `_pairs`, which may raise any of `BROKEN`."""

    name: str
    fingerprint: str
    path: Path
    columns: PairColumns

    def read(self) -> Iterator[Pair | BadPair]:
        """Read the pairs, in the same order every time.

        Yields:
            Pairs, and in their place the rows that cannot be used.

        Raises:
            DataError: The file is cut short, corrupt or gone.
        """
        try:
            yield from self._pairs()
        except BROKEN as error:
            raise DataError(f"shard {self.name} is broken: {error} ({self.path})") from error

    @abstractmethod
    def _pairs(self) -> Iterator[Pair | BadPair]:
        """The pairs; any of `BROKEN` may be raised on the way."""


def file_digest(path: Path, name: str, columns: PairColumns) -> str:
    """Recognise a file and the way it is read, wherever it lies.

    Args:
        path: The file.
        name: Its name within the data set.
        columns: Which columns are read, and how: another caption is other data.

    Returns:
        A hexadecimal digest of these, the file's size and its first and last 64 KiB.

    Raises:
        OSError: The file cannot be read.
    """
    size = path.stat().st_size
    digest = hashlib.sha256(repr((name, columns, size)).encode())
    with path.open("rb") as stream:
        digest.update(stream.read(FINGERPRINT_BYTES))
        stream.seek(max(size - FINGERPRINT_BYTES, 0))
        digest.update(stream.read(FINGERPRINT_BYTES))
    return digest.hexdigest()


def row_ranges(num_rows: int, rows_per_shard: int) -> list[range]:
    """Cut rows into ranges.

    Args:
        num_rows: Rows of the whole.
        rows_per_shard: Rows of a range; the last one may have fewer.

    Returns:
        The ranges in order.
    """
    starts = range(0, num_rows, rows_per_shard)
    return [range(start, min(start + rows_per_shard, num_rows)) for start in starts]


def range_name(name: str, rows: range) -> str:
    """Name some rows of a file.

    Args:
        name: The file's name.
        rows: The rows.

    Returns:
        A name such as "train.parquet[4096:8192]".
    """
    return f"{name}[{rows.start}:{rows.stop}]"


def range_digest(digest: str, rows: range) -> str:
    """Tell the ranges of one file apart.

    Args:
        digest: The file's digest.
        rows: The rows.

    Returns:
        A hexadecimal digest.
    """
    return hashlib.sha256(range_name(digest, rows).encode()).hexdigest()


def check_columns(name: str, header: Sequence[str], columns: PairColumns) -> None:
    """Refuse a table without the columns that are to be read.

    Args:
        name: The table's name.
        header: The columns that it has.
        columns: The columns that it must have.

    Raises:
        DataError: One is not there.
    """
    missing = [column for column in columns.needed if column not in header]
    if missing:
        raise DataError(f"{name} has no column {missing[0]!r}; it has {', '.join(header)}")
