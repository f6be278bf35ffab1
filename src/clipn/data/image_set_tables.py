"""Image sets in Parquet files, as Hugging Face data sets are published."""

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from threading import Lock
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from clipn.data.image_set import ImageSet, LazyImages
from clipn.data.image_set_digests import digest_files, digest_of
from clipn.data.image_set_shards import find_shards, name_shards
from clipn.errors import DataError

__all__ = ["check_image_type", "read_parquet"]

# Passed over where it is absent, unlike a column that is asked for by another name.
NAME_COLUMN = "name"
NUM_VALUES_IN_MESSAGES = 12


def read_parquet(
    paths: str | Path | Sequence[str | Path],
    *,
    name: str | None = None,
    image_column: str = "image",
    label_column: str | None = "label",
    name_column: str | None = NAME_COLUMN,
    where: Mapping[str, Any] | None = None,
) -> ImageSet:
    """Read images from one or several Parquet files.

    Only labels, names and the columns of `where` are read at once. Images stay encoded and are
    read with the row group that they are in, the last of which is kept: rows are best asked for in
    their order, and files best written with small row groups.

    Args:
        paths: A file, a folder of .parquet files, or several of either.
        name: What to call the set; by default as the first file without its suffix.
        image_column: Hugging Face's image structs (bytes, path), encoded bytes, or paths that start
            at the folder of their file.
        label_column: Whole numbers, empty or -1 where there is no class; None: there are no labels.
        name_column: The name of each row's class. Passed over where the labels are Hugging Face
            ClassLabels, which bring their names along, or where there is no column "name".
        where: Keep the rows that have these values, by column: {"domain": "photo"}.

    Returns:
        A set of bytes or paths; ids are "file.parquet:17", with the number of the row in its file.
        Label names are those of all rows, whatever `where` keeps; a class without a row is "".

    Raises:
        DataError: If a file is missing or no Parquet, a column is missing or of another type, a
            label has two names or is out of range, or `where` keeps no row.
    """
    files = find_shards(paths, ".parquet")
    names = name_shards(files)
    wanted = [*(where or ()), *([] if label_column is None else [label_column])]
    tables = [_open_table(path, image_column, wanted, name_column) for path in files]
    labels = _labels_in(tables, label_column)
    label_names = _label_names(tables, labels, label_column, name_column)
    rows = _rows_where(tables, where or {})
    all_ids = [
        f"{shard}:{row}"
        for shard, table in zip(names, tables, strict=True)
        for row in range(table.metadata.num_rows)
    ]
    ids = tuple(all_ids[row] for row in rows)
    kept = None if labels is None else tuple(labels[row] for row in rows)
    contents = digest_files(names, files, num_sampled=len(files))
    return ImageSet(
        name=name or files[0].stem,
        images=LazyImages(_RowGroups(tables, image_column).fetch, rows),
        labels=kept,
        label_names=label_names,
        ids=ids,
        fingerprint=digest_of(contents, image_column, ids, kept, label_names),
    )


@dataclass(frozen=True, kw_only=True)
class _Table:
    """One file: its footer, and the values of the columns that are small."""

    path: Path
    metadata: pq.FileMetaData
    schema: pa.Schema
    columns: dict[str, list[Any]]


def _open_table(
    path: Path, image_column: str, wanted: Sequence[str], name_column: str | None
) -> _Table:
    with _translated(path), pq.ParquetFile(path) as file:
        schema = file.schema_arrow
        needed = list(wanted)
        is_there = name_column in schema.names
        if name_column is not None and (is_there or name_column != NAME_COLUMN):
            needed.append(name_column)
        for column in (image_column, *needed):
            if column not in schema.names:
                raise DataError(
                    f"'{path}' has no column {column!r}; it has {', '.join(schema.names)}."
                )
        check_image_type(str(path), schema.field(image_column))
        values = file.read(list(dict.fromkeys(needed))).to_pydict() if needed else {}
        return _Table(path=path, metadata=file.metadata, schema=schema, columns=values)


def check_image_type(path: str, field: pa.Field) -> None:
    """Refuse a column that cannot hold images.

    Args:
        path: The file, for the message.
        field: The column.

    Raises:
        DataError: Its type is none of Hugging Face's structs, binary and text.
    """
    kind = field.type
    is_struct = pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0
    if not (is_struct or _is_binary(kind) or _is_text(kind)):
        raise DataError(
            f"The column {field.name!r} of '{path}' holds {kind}: images must be structs with "
            "bytes, encoded bytes, or paths."
        )


def _is_binary(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, UnicodeError, pa.ArrowException) as error:
        raise DataError(f"'{path}' cannot be read as Parquet: {error}") from error


def _labels_in(tables: Sequence[_Table], column: str | None) -> list[int] | None:
    if column is None:
        return None
    for table in tables:
        kind = table.schema.field(column).type
        if not pa.types.is_integer(kind):
            raise DataError(
                f"The column {column!r} of '{table.path}' holds {kind}: labels must be whole "
                "numbers (label_column=None reads no labels)."
            )
    return [-1 if value is None else value for value in _values(tables, column)]


def _values(tables: Sequence[_Table], column: str) -> Iterator[Any]:
    """The values of a column, one file after the other."""
    return (value for table in tables for value in table.columns[column])


def _label_names(
    tables: Sequence[_Table],
    labels: Sequence[int] | None,
    label_column: str | None,
    name_column: str | None,
) -> tuple[str, ...]:
    if labels is None or label_column is None:
        return ()
    known = {_class_label_names(table.schema, label_column) for table in tables}
    if len(known) > 1:
        raise DataError(f"The labels of '{tables[0].path}' and the other files differ in names.")
    names = known.pop()
    if names or name_column is None or any(name_column not in t.columns for t in tables):
        return names
    found: dict[int, str] = {}
    for label, value in zip(labels, _values(tables, name_column), strict=True):
        if label < 0 or value is None:
            continue
        if found.setdefault(label, str(value)) != str(value):
            raise DataError(
                f"The label {label} of '{tables[0].path}' is called both {found[label]!r} and "
                f"{value!r} in the column {name_column!r}: name the column that holds the names "
                "of classes, or none (name_column=None)."
            )
    return tuple(found.get(label, "") for label in range(max(found, default=-1) + 1))


def _class_label_names(schema: pa.Schema, column: str) -> tuple[str, ...]:
    """The names that Hugging Face keeps in a file's metadata."""
    if b"ClassLabel" not in (schema.metadata or {}).get(b"huggingface", b""):
        return ()
    # Imported here because it takes long, and most files do without.
    import datasets

    feature = datasets.Features.from_arrow_schema(schema)[column]
    return tuple(feature.names) if isinstance(feature, datasets.ClassLabel) else ()


def _rows_where(tables: Sequence[_Table], where: Mapping[str, Any]) -> Sequence[int]:
    rows: Sequence[int] = range(sum(table.metadata.num_rows for table in tables))
    for column, wanted in where.items():
        values = list(_values(tables, column))
        if wanted not in values:
            there = ", ".join(sorted({repr(value) for value in values})[:NUM_VALUES_IN_MESSAGES])
            raise DataError(
                f"No row of '{tables[0].path}' has {wanted!r} in the column {column!r}; there are "
                f"{there}."
            )
        rows = [row for row in rows if values[row] == wanted]
    if where and not rows:
        raise DataError(f"No row of '{tables[0].path}' has all of {dict(where)}.")
    return rows


class _RowGroups:
    """The images of all rows of some files; the row group read last stays in memory."""

    def __init__(self, tables: Sequence[_Table], column: str) -> None:
        self._column = column
        self._groups = [
            (table.path, table.metadata, number)
            for table in tables
            for number in range(table.metadata.num_row_groups)
        ]
        sizes = (metadata.row_group(number).num_rows for _, metadata, number in self._groups)
        self._starts = list(accumulate(sizes, initial=0))[:-1]
        self._lock = Lock()
        self._held: tuple[int, pa.ChunkedArray] | None = None

    def fetch(self, row: int) -> bytes | Path:
        """The image of a row, as the files count them together."""
        group = bisect_right(self._starts, row) - 1
        value = self._load(group)[row - self._starts[group]].as_py()
        if isinstance(value, Mapping):
            value = value["bytes"] or value.get("path")
        if isinstance(value, str) and value:
            return self._groups[group][0].parent / value
        return value or b""  # refused like any other bytes that are no image

    def _load(self, group: int) -> pa.ChunkedArray:
        with self._lock:
            if self._held is not None and self._held[0] == group:
                return self._held[1]
            path, metadata, number = self._groups[group]
            self._held = None  # two groups at once may be too many
            with _translated(path), pq.ParquetFile(path, metadata=metadata) as file:
                images = file.read_row_group(number, columns=[self._column]).column(self._column)
            self._held = group, images
            return images
