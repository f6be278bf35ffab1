"""A full disk or a missing permission at every write: it is named, and nothing is half-written."""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from own_targets import (
    NAMES,
    tiny_model,
    write_a_cache,
    write_a_checkpoint,
    write_results,
    write_rows,
)

from clipn.cli.outputs import write_answers
from clipn.data.array_file import write_array
from clipn.detector import Detector
from clipn.errors import ClipnError
from clipn.files import write_json, write_tensors, write_text
from clipn.predictions import Prediction, Predictions


def _write_array(folder: Path) -> None:
    with write_array(folder / "a.npy", shape=(300, 2), dtype=np.dtype("f8")) as append:
        append(np.ones((300, 2)))


def _write_answers(folder: Path) -> None:
    one = Prediction(image="a.jpg", label="cat", score=0.5, is_ood=False, best_class="cat")
    answers = Predictions(items=(one,) * 99, score_name="msp", rule="threshold", threshold=0.1)
    write_answers(
        answers,
        json_path=folder / "a.json",
        csv_path=folder / "a.csv",
        parquet_path=folder / "a.parquet",
    )


WRITERS: dict[str, Callable[[Path], object]] = {
    "text": lambda folder: write_text(folder / "a.txt", "x" * 3000),
    "json": lambda folder: write_json(folder / "a.json", ["x"] * 3000),
    "tensors": lambda folder: write_tensors(folder / "a.safetensors", {"a": torch.ones(3000)}),
    "array": _write_array,
    "answers": _write_answers,
    "model": lambda folder: tiny_model().save(folder / "model"),
    "detector": lambda folder: Detector(tiny_model(), NAMES).save(folder / "detector"),
    "checkpoint": write_a_checkpoint,
    "results": write_results,
    "row cache": write_rows,
}


@contextmanager
def _failing(call: str, number: int) -> Iterator[list[str]]:
    """Let one call of a function of `os` fail, as where a permission is missing."""
    real, calls = getattr(Path, call), []

    def fail(path: Path, *arguments: object, **options: object) -> object:
        calls.append(str(path))
        if len(calls) == number:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return real(path, *arguments, **options)

    setattr(Path, call, fail)
    try:
        yield calls
    finally:
        setattr(Path, call, real)


def _assert_clean(folder: Path) -> None:
    left = [path for path in folder.rglob("*") if path.name.endswith(".tmp")]
    assert not left, left


@pytest.mark.parametrize("call", ["touch", "replace", "rename"])
@pytest.mark.parametrize("writer", [*WRITERS, "embedding cache"])
def test_a_missing_permission_at_any_write_is_named_and_leaves_nothing_half_written(
    writer: str, call: str, tmp_path: Path
):
    write = WRITERS.get(writer, write_a_cache)
    write(tmp_path / "first")  # what is kept for all that follow is made here
    with _failing(call, 0) as calls:
        write(tmp_path / "whole")
    for number in range(1, len(calls) + 1):
        folder = tmp_path / str(number)
        with (
            _failing(call, number),
            pytest.raises((OSError, ClipnError), match=f"Permission denied.*{folder}"),
        ):
            write(folder)
        _assert_clean(folder)
        write(folder)  # with the permission it goes on


@pytest.mark.parametrize("writer", WRITERS)
def test_a_full_disk_is_named_and_leaves_nothing_half_written(
    writer: str,
    tmp_path: Path,
    limit_file_size: Callable[[int], AbstractContextManager[None]],
):
    WRITERS[writer](tmp_path / "whole")
    sizes = [path.stat().st_size for path in (tmp_path / "whole").rglob("*") if path.is_file()]
    for size in sorted({10, *(size - 1 for size in sizes)}):
        folder = tmp_path / str(size)
        with (
            limit_file_size(size),
            pytest.raises((OSError, ClipnError), match=f"{folder}"),
        ):
            WRITERS[writer](folder)
        _assert_clean(folder)
        WRITERS[writer](folder)  # with room it goes on
