"""Shards of tables in Arrow's formats: Parquet files and Hugging Face data sets."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import Any, TypeAlias

import datasets
import pyarrow as pa
import pyarrow.parquet as pq

from clipn.data.pair_rows import BadPair, Pair, PairColumns, Shard, make_pair
from clipn.data.pair_shards import (
    BROKEN,
    FileShard,
    check_columns,
    file_digest,
    range_digest,
    range_name,
    row_ranges,
)
from clipn.errors import DataError

__all__ = ["load_folder", "open_dataset", "open_parquet"]

BATCH_ROWS = 128
# Without a buffer, or reading ahead, pyarrow loads a whole row group: perhaps the whole file.
PARQUET_BUFFER_BYTES = 2**20

Block: TypeAlias = pa.Table | pa.RecordBatch
Row: TypeAlias = dict[str, Any]


def open_parquet(
    path: Path, *, name: str, columns: PairColumns, rows_per_shard: int
) -> list[Shard]:
    """Cut a Parquet file into shards; only its footer is read.

    Args:
        path: The file. A shard skips the row groups before its own, but reads its first one from
            that group's beginning: files of small row groups resume fastest.
        name: The file's name in the names of its shards.
        columns: Which columns hold what; image paths start at the file's folder.
        rows_per_shard: Rows of a shard.

    Returns:
        The shards in the order of the file.

    Raises:
        DataError: A column is not there.
        OSError: The file cannot be read.
        pyarrow.ArrowException: It is no Parquet file.
    """
    digest = file_digest(path, name, columns)
    with pq.ParquetFile(path) as file:
        schema, num_rows = file.schema_arrow, file.metadata.num_rows
    check_columns(name, schema.names, columns)
    columns = replace(columns, class_names=_class_names(schema, columns))
    return [
        _ParquetShard(
            name=range_name(name, rows),
            fingerprint=range_digest(digest, rows),
            path=path,
            columns=columns,
            rows=rows,
        )
        for rows in row_ranges(num_rows, rows_per_shard)
    ]


@dataclass(frozen=True, kw_only=True)
class _ParquetShard(FileShard):
    rows: range

    def _pairs(self) -> Iterator[Pair | BadPair]:
        with pq.ParquetFile(self.path, buffer_size=PARQUET_BUFFER_BYTES, pre_buffer=False) as file:
            if file.metadata.num_rows < self.rows.stop:
                raise EOFError(f"it ends before row {self.rows.stop - 1}")
            blocks = self._blocks(file)
            yield from _table_pairs(blocks, self.rows, self.columns, self.path.parent)

    def _blocks(self, file: pq.ParquetFile) -> Iterator[tuple[int, Block]]:
        sizes = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
        starts = list(accumulate(sizes, initial=0))[:-1]
        wanted = [
            i
            for i, (start, size) in enumerate(zip(starts, sizes, strict=True))
            if start < self.rows.stop and start + size > self.rows.start
        ]
        first = starts[wanted[0]]
        needed = list(self.columns.needed)
        for batch in file.iter_batches(BATCH_ROWS, row_groups=wanted, columns=needed):
            yield first, batch
            first += batch.num_rows
            if first >= self.rows.stop:  # the row group may go on for long
                return


def load_folder(folder: Path) -> datasets.Dataset:
    """Load a data set that `save_to_disk` wrote, memory-mapped.

    Args:
        folder: The data set's folder.

    Returns:
        The data set.

    Raises:
        DataError: The folder holds several splits, or no readable data set.
    """
    try:
        dataset = datasets.load_from_disk(str(folder))
    except (*BROKEN, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{folder} holds no data set of save_to_disk: {error}") from error
    if not isinstance(dataset, datasets.Dataset):
        raise DataError(f"{folder} holds several splits; name one of {sorted(dataset)}")
    return dataset


def open_dataset(
    dataset: datasets.Dataset,
    *,
    name: str,
    columns: PairColumns,
    rows_per_shard: int,
    folder: Path | None = None,
) -> list[Shard]:
    """Cut a Hugging Face data set into shards.

    Args:
        dataset: The data set; its images stay encoded.
        name: Its name in the names of its shards.
        columns: Which columns hold what.
        rows_per_shard: Rows of a shard.
        folder: Where relative image paths start; the working folder if None.

    Returns:
        The shards in order.

    Raises:
        DataError: A column is not there.
    """
    check_columns(name, dataset.column_names, columns)
    columns = replace(columns, class_names=_class_names(dataset.features.arrow_schema, columns))
    table = dataset.select_columns(list(columns.needed)).with_format("arrow")
    return [
        _DatasetShard(
            name=range_name(name, rows),
            fingerprint=_table_digest(table, name, columns, rows),
            table=table,
            columns=columns,
            rows=rows,
            folder=folder or Path(),
        )
        for rows in row_ranges(len(dataset), rows_per_shard)
    ]


@dataclass(frozen=True, kw_only=True)
class _DatasetShard:
    name: str
    fingerprint: str
    table: datasets.Dataset
    columns: PairColumns
    rows: range
    folder: Path

    def read(self) -> Iterator[Pair | BadPair]:
        """Read the pairs; see `Shard.read`."""
        try:
            yield from _table_pairs(self._blocks(), self.rows, self.columns, self.folder)
        except BROKEN as error:
            raise DataError(f"shard {self.name} is broken: {error}") from error

    def _blocks(self) -> Iterator[tuple[int, Block]]:
        for first in range(self.rows.start, self.rows.stop, BATCH_ROWS):
            yield first, self.table[first : min(first + BATCH_ROWS, self.rows.stop)]


def _table_digest(table: datasets.Dataset, name: str, columns: PairColumns, rows: range) -> str:
    # A data set in memory has no file, and one on disk may be a selection of its files' rows:
    # the first and last row stand for the content.
    digest = hashlib.sha256(repr((name, columns, len(table), rows, table.features)).encode())
    for number in (rows.start, rows.stop - 1):
        row = next(_rows_in([(number, table[number : number + 1])], range(number, number + 1)))
        digest.update(repr(row).encode())
    return digest.hexdigest()


def _class_names(schema: pa.Schema, columns: PairColumns) -> dict[int, str]:
    """The texts behind a name column that holds Hugging Face's class numbers."""
    if columns.recipe is None:
        return {}
    column = columns.recipe.name_column
    if not pa.types.is_integer(schema.field(column).type):
        return {}
    feature = datasets.Features.from_arrow_schema(schema)[column]
    return dict(enumerate(feature.names)) if isinstance(feature, datasets.ClassLabel) else {}


def _table_pairs(
    blocks: Iterable[tuple[int, Block]],
    rows: range,
    columns: PairColumns,
    folder: Path,
) -> Iterator[Pair | BadPair]:
    for number, row in _rows_in(blocks, rows):
        yield make_pair(str(number), row[columns.image], row, columns=columns, folder=folder)


def _rows_in(blocks: Iterable[tuple[int, Block]], rows: range) -> Iterator[tuple[int, Row]]:
    """Pick rows out of blocks that come with the number of their first row."""
    for first, block in blocks:
        for number in range(max(rows.start, first), min(rows.stop, first + block.num_rows)):
            names = block.schema.names
            yield number, {name: _value(block, name, number - first) for name in names}


def _value(block: Block, column: str, index: int) -> Any:
    try:
        return block.column(column)[index].as_py()
    except UnicodeDecodeError as error:
        # Escaped as in CSV files, so that the row is refused and not the block.
        return error.object.decode("utf-8", "surrogateescape")
