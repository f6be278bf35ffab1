"""The plan of a run: written once, it says which rows every output file will hold.

OUT/_clipn/plan.json              what the run depends on
           partitions.parquet     which part of the input each output file is made of
           files.parquet          the list of images, where they are files of their own
           detector/              the detector
           manifest.json          counts, once all is done
OUT/part-00000000.parquet ...     the rows
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from clipn.batch.inputs import PLAN, InputFiles
from clipn.batch.options import BatchOptions
from clipn.batch.store import Store
from clipn.data.image_set_tables import check_image_type
from clipn.errors import DataError

__all__ = [
    "FILES",
    "NUM_FOOTER_THREADS",
    "Partition",
    "Plan",
    "cut_input",
    "output_name",
    "read_plan",
    "write_plan",
]

FORMAT_VERSION = 1
PARTITIONS, FILES = "_clipn/partitions.parquet", "_clipn/files.parquet"
UNKNOWN = -1
NUM_FOOTER_THREADS = 16


@dataclass(frozen=True, kw_only=True)
class Partition:
    """A part of the input that becomes one output file."""

    file: str
    """The file, by its name below the root; of images the plan's own list of them."""

    first: int = 0
    """Its first row group."""

    stop: int = 1
    """The row group after its last."""

    first_row: int = 0
    """The number in its file of its first row."""

    num_images: int = UNKNOWN
    """How many images it holds; -1: nobody has counted them."""

    num_bytes: int
    """About how much is to be read."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run depends on, and how it is cut."""

    identity: dict[str, Any]
    """What makes another run of it: input, options, detector. Plain JSON."""

    partitions: tuple[Partition, ...]
    """In the order of the output files."""

    @property
    def options(self) -> BatchOptions:
        """The options that it was made with."""
        values = dict(self.identity["options"])
        return BatchOptions(**{**values, "extra_scores": tuple(values["extra_scores"])})

    @property
    def num_images(self) -> int | None:
        """How many images there are; None where nobody has counted them."""
        counts = [partition.num_images for partition in self.partitions]
        return None if UNKNOWN in counts else sum(counts)


def output_name(number: int) -> str:
    """The name of the output file of a partition.

    Example:
        >>> output_name(17)
        'part-00000017.parquet'
    """
    return f"part-{number:08d}.parquet"


def cut_input(files: InputFiles, options: BatchOptions) -> tuple[Partition, ...]:
    """Cut an input into partitions, the same ones every time.

    Args:
        files: The input.
        options: How large a partition should be, and which column holds the images.

    Raises:
        DataError: If a Parquet file cannot be read, is damaged or lacks a column.
    """
    if files.kind == "images":
        return tuple(_cut_images(files, options.rows_per_partition))
    if files.kind == "tars":
        pairs = zip(files.names, files.sizes, strict=True)
        return tuple(Partition(file=name, num_bytes=size) for name, size in pairs)
    wanted = options.rows_per_partition
    columns = [options.image_column, *([options.key_column] if options.key_column else [])]
    if files.kind == "embeddings":
        wanted, columns = 1 << 62, ["image", "error", "embedding"]

    def cut(name: str) -> list[Partition]:
        """Read the footer of a file and cut it between its row groups."""
        return _cut_parquet(files, name, columns, wanted)

    with ThreadPoolExecutor(NUM_FOOTER_THREADS) as threads:
        return tuple(part for parts in threads.map(cut, files.names) for part in parts)


def _cut_images(files: InputFiles, rows: int) -> Iterator[Partition]:
    for number, first in enumerate(range(0, len(files.names), rows)):
        sizes = files.sizes[first : first + rows]
        yield Partition(
            file=FILES,
            first=number,
            stop=number + 1,
            first_row=first,
            num_images=len(sizes),
            num_bytes=sum(sizes),
        )


def _cut_parquet(files: InputFiles, name: str, columns: list[str], wanted: int) -> list[Partition]:
    path = f"{files.root}/{name}"
    try:
        with files.fs.open(path, "rb") as stream, pq.ParquetFile(stream) as file:
            schema, metadata = file.schema_arrow, file.metadata
    except (OSError, UnicodeError, pa.ArrowException) as error:
        raise DataError(f"'{path}' cannot be read as Parquet: {error}") from error
    for column in columns:
        if column not in schema.names:
            hint = "; run it with embeddings='float16' first" if files.kind == "embeddings" else ""
            there = ", ".join(schema.names)
            raise DataError(f"'{path}' has no column {column!r}; it has {there}{hint}.")
    if files.kind == "parquet":
        check_image_type(path, schema.field(columns[0]))
    parts: list[Partition] = []
    first = row = 0
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    if sum(group.num_rows for group in groups) != metadata.num_rows:
        raise DataError(f"'{path}' is damaged: its row groups have not the rows that it counts.")
    for number in range(len(groups)):
        held = groups[first : number + 1]
        num_rows = sum(part.num_rows for part in held)
        if num_rows >= wanted or number + 1 == len(groups):
            parts.append(
                Partition(
                    file=name,
                    first=first,
                    stop=number + 1,
                    first_row=row,
                    num_images=num_rows,
                    num_bytes=sum(part.total_byte_size for part in held),
                )
            )
            first, row = number + 1, row + num_rows
    return parts


def write_plan(store: Store, plan: Plan, files: InputFiles) -> None:
    """Write a plan; it counts once `plan.json` is there, which comes last."""
    if files.kind == "images":
        schema = pa.schema({"image": pa.string(), "size": pa.int64()})
        with store.write_aside(FILES) as stream, _table_writer(stream, schema) as writer:
            for part in plan.partitions:
                rows = slice(part.first_row, part.first_row + part.num_images)
                values = {"image": files.names[rows], "size": files.sizes[rows]}
                writer.write_table(pa.table(values, schema=schema))
    values = [asdict(partition) for partition in plan.partitions]
    names = [field.name for field in fields(Partition)]
    table = pa.table({name: [value[name] for value in values] for name in names})
    with store.write_aside(PARTITIONS) as stream, _table_writer(stream, table.schema) as writer:
        writer.write_table(table)
    store.write_json(PLAN, {"format_version": FORMAT_VERSION, **plan.identity})


def _table_writer(stream: Any, schema: pa.Schema) -> pq.ParquetWriter:
    return pq.ParquetWriter(stream, schema, write_page_checksum=True)


def read_plan(store: Store) -> Plan:
    """Read the plan of an output folder.

    Raises:
        DataError: If it is missing, damaged or of another format.
    """
    identity = store.read_json(PLAN)
    version = identity.pop("format_version", None)
    if version != FORMAT_VERSION:
        raise DataError(
            f"{store.path(PLAN)} has format version {version!r}; this clipn reads version "
            f"{FORMAT_VERSION}."
        )
    with store.fs.open(store.path(PARTITIONS), "rb") as stream:
        try:
            rows = pq.read_table(stream, page_checksum_verification=True).to_pylist()
            partitions = tuple(Partition(**row) for row in rows)
        except (OSError, UnicodeError, TypeError, pa.ArrowException) as error:
            raise DataError(f"{store.path(PARTITIONS)} cannot be read: {error}") from error
    return Plan(identity=identity, partitions=partitions)
