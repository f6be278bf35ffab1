"""Other classes for images whose embeddings were kept: no image is read again."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from fsspec import AbstractFileSystem
from jaxtyping import Float

from clipn.batch.rows import RowFormat
from clipn.detector import Detector
from clipn.errors import DataError
from clipn.judge import Judge

__all__ = ["rescore_rows"]

# Logits of a block stay in a core's cache: 1 MiB in float32.
BLOCK_VALUES = 1 << 18
READ_ROWS = 8192


def rescore_rows(
    fs: AbstractFileSystem,
    path: str,
    groups: range,
    *,
    detector: Detector,
    judge: Judge,
    row_format: RowFormat,
    top_k: int,
) -> Iterator[pa.Table]:
    """Answer for the rows of an output file from the embeddings in it.

    Args:
        fs: Where the file lies.
        path: Where there.
        groups: Its row groups.
        detector: Decides.
        judge: Scores.
        row_format: How answers become rows.
        top_k: How many classes to rank.

    Yields:
        Rows in the order of the file; those with an error keep it.

    Raises:
        DataError: If the file is damaged.
    """
    rows_at_once = max(64, BLOCK_VALUES // len(row_format.class_names))
    with fs.open(path, "rb") as stream, pq.ParquetFile(stream) as file:
        columns = ["image", "error", "embedding"]
        for batch in file.iter_batches(READ_ROWS, row_groups=list(groups), columns=columns):
            for first in range(0, len(batch), rows_at_once):
                part = batch.slice(first, rows_at_once)
                errors = _errors(part.column("error"))
                values = _embeddings(part.column("embedding"))
                judgement = None
                if len(values):
                    judgement = judge(
                        torch.from_numpy(values).to(detector.model.device),
                        rule=detector.rule,
                        threshold=detector.threshold,
                        top_k=top_k,
                    )
                if len(values) + len(errors) != len(part):
                    raise DataError(f"'{path}' is damaged: rows have neither error nor embedding.")
                yield row_format.make_table(
                    part.column("image").to_pylist(), errors, judgement, None
                )


def _errors(column: pa.Array) -> dict[int, str]:
    if column.null_count == len(column):
        return {}
    return {row: why for row, why in enumerate(column.to_pylist()) if why is not None}


def _embeddings(column: pa.Array) -> Float[np.ndarray, "readable dim"]:
    """The embeddings that are there, as float32."""
    there = column.drop_null()
    values = there.flatten().to_numpy(zero_copy_only=False)
    return values.astype(np.float32).reshape(len(there), -1)
