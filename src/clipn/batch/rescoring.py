"""Other classes for images whose embeddings were kept: no image is read again."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from fsspec import AbstractFileSystem
from jaxtyping import Float

from clipn.batch.options import BatchOptions
from clipn.batch.readers import is_damage
from clipn.batch.rows import RowFormat
from clipn.detector import Detector
from clipn.errors import DataError

__all__ = ["Rescorer"]

# Logits of a block stay in a core's cache: 1 MiB in float32.
BLOCK_VALUES = 1 << 18
READ_ROWS = 8192


class Rescorer:
    """Answers for the rows of output files from the embeddings in them.

    Args:
        detector: Decides.
        options: Which scores to take, in which numbers, and how many classes to rank.
        row_format: How answers become rows.
    """

    def __init__(self, detector: Detector, options: BatchOptions, row_format: RowFormat) -> None:
        self._detector, self._format, self._top_k = detector, row_format, options.top_k
        self._judge = detector.judge(options.extra_scores, precision=options.precision)
        self._rows_at_once = max(64, BLOCK_VALUES // len(row_format.class_names))

    def __call__(self, fs: AbstractFileSystem, path: str, groups: range) -> Iterator[pa.Table]:
        """Answer for the rows of a file.

        Args:
            fs: Where the file lies.
            path: Where there.
            groups: Its row groups.

        Yields:
            Rows in the order of the file; those with an error keep it.

        Raises:
            DataError: If the file is damaged.
        """
        for batch in _read_batches(fs, path, groups):
            for first in range(0, len(batch), self._rows_at_once):
                yield self._score(batch.slice(first, self._rows_at_once), path)

    def _score(self, part: pa.RecordBatch, path: str) -> pa.Table:
        errors = _errors(part.column("error"))
        values = _embeddings(part.column("embedding"), self._format.dim)
        if values is None or len(values) + len(errors) != len(part):
            raise DataError(f"'{path}' is damaged: not every row has an error or an embedding.")
        names = part.column("image").to_pylist()
        if not len(values):
            return self._format.make_table(names, errors, None)
        judgement = self._judge(
            torch.from_numpy(values).to(self._detector.model.device),
            rule=self._detector.rule,
            threshold=self._detector.threshold,
            top_k=self._top_k,
        )
        p_values = self._detector.p_values_of(judgement)
        return self._format.make_table(names, errors, judgement, p_values)


def _read_batches(fs: AbstractFileSystem, path: str, groups: range) -> Iterator[pa.RecordBatch]:
    columns = ["image", "error", "embedding"]
    try:
        with (
            fs.open(path, "rb") as stream,
            pq.ParquetFile(stream, page_checksum_verification=True) as file,
        ):
            yield from file.iter_batches(READ_ROWS, row_groups=list(groups), columns=columns)
    except (OSError, UnicodeError, pa.ArrowException) as error:
        if not is_damage(error):
            raise
        raise DataError(f"'{path}' is damaged: {error}") from error


def _errors(column: pa.Array) -> dict[int, str]:
    if column.null_count == len(column):
        return {}
    return {row: why for row, why in enumerate(column.to_pylist()) if why is not None}


def _embeddings(column: pa.Array, dim: int) -> Float[np.ndarray, "readable dim"] | None:
    """The embeddings that are there, as float32; None if the column holds none of this length."""
    kind = column.type
    if not (pa.types.is_fixed_size_list(kind) and pa.types.is_floating(kind.value_type)):
        return None
    there = column.drop_null()
    values = there.flatten().to_numpy(zero_copy_only=False)
    return values.astype(np.float32).reshape(-1, dim) if kind.list_size == dim else None
