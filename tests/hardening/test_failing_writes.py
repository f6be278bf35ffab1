"""A full disk or a missing permission at every write: it is named, and nothing is half-written."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import specimens
import torch
from denials import deny
from kills import digest_of
from own_targets import (
    NAMES,
    tiny_model,
    write_a_cache,
    write_a_checkpoint,
    write_results,
    write_rows,
)

from clipn.batch import BatchOptions, score_images
from clipn.cli.outputs import write_answers
from clipn.data.array_file import write_array
from clipn.detector import Detector
from clipn.errors import ClipnError
from clipn.export import writing
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


def _detector() -> Detector:
    return Detector(tiny_model(), NAMES)


def _export(folder: Path) -> None:
    writing.export_detector(_detector(), folder / "a.onnx")


def _export_int8(folder: Path) -> None:
    pictures = [specimens.draw_picture(shift=shift) for shift in range(3)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tempfile.tempdir", str(folder / "tmp"))
        (folder / "tmp").mkdir(parents=True, exist_ok=True)
        writing.export_detector(
            _detector(), folder / "a.onnx", precision="int8", calibration_images=pictures
        )


def _score_photos(folder: Path) -> None:
    photos = folder.parent / "photos"
    if not photos.exists():
        photos.mkdir()
        for number in range(2):
            content = specimens.encode(specimens.draw_picture(shift=number), "PNG")
            (photos / f"{number}.png").write_bytes(content)
    options = BatchOptions(rows_per_partition=1, embeddings="float16")
    score_images(photos, folder / "out", _detector(), options=options)


def _score_anew(folder: Path) -> None:
    kept = folder.parent / "kept"
    if not kept.exists():
        _score_photos(kept)
    score_images(kept / "out", folder / "out", _detector())


WRITERS: dict[str, Callable[[Path], object]] = {
    "text": lambda folder: write_text(folder / "a.txt", "x" * 3000),
    "json": lambda folder: write_json(folder / "a.json", {"x": ["x"] * 3000}),
    "tensors": lambda folder: write_tensors(folder / "a.safetensors", {"a": torch.ones(3000)}),
    "array": _write_array,
    "answers": _write_answers,
    "model": lambda folder: tiny_model().save(folder / "model"),
    "detector": lambda folder: _detector().save(folder / "detector"),
    "export": _export,
    "export in int8": _export_int8,
    "batch": _score_photos,
    "batch anew": _score_anew,
    "checkpoint": write_a_checkpoint,
    "results": write_results,
    "row cache": write_rows,
}


_traces: list[onnx.ModelProto] = []


@pytest.fixture(autouse=True)
def _trace_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """One trace serves all exports, as it takes seconds and writes nothing."""
    trace = writing._trace

    def trace_once(*arguments: Any, **options: Any) -> onnx.ModelProto:
        if not _traces:
            _traces.append(trace(*arguments, **options))
        copy = onnx.ModelProto()
        copy.CopyFrom(_traces[0])
        return copy

    monkeypatch.setattr(writing, "_trace", trace_once)


def _assert_clean(folder: Path) -> None:
    left = [path for path in folder.rglob("*") if path.match("*.tmp") or path.parent.match("tmp")]
    assert not left, left


@pytest.mark.parametrize("writer", [*WRITERS, "embedding cache"])
def test_a_missing_permission_at_any_write_is_named_and_leaves_nothing_half_written(
    writer: str, tmp_path: Path
):
    write = WRITERS.get(writer, write_a_cache)
    write(tmp_path / "first")  # what is kept for all that follow is made here
    with deny(0, below=tmp_path / "whole") as calls:
        write(tmp_path / "whole")
    # A detector is tried by itself, and takes its time.
    numbers = [n for n, call in enumerate(calls, start=1) if "/_clipn/detector" not in call]
    assert numbers
    for number in numbers:
        folder = tmp_path / str(number)
        with (
            deny(number, below=folder),
            pytest.raises((OSError, ClipnError), match=f"Permission denied.*{folder}"),
        ):
            write(folder)
        _assert_clean(folder)
        write(folder)  # with the permission it goes on
        assert digest_of(folder) == digest_of(tmp_path / "whole")


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
        assert digest_of(folder) == digest_of(tmp_path / "whole")
