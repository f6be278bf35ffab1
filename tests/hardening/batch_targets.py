"""What batch runs keep in their output folders: plans, detectors, rows, embeddings."""

import atexit
import shutil
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import specimens
from exchange_targets import exported_file
from own_targets import NAMES, tiny_model
from targets import Target, digest

from clipn.batch import BatchOptions, Progress, score_images
from clipn.detector import Detector
from clipn.errors import DataError
from clipn.export.onnx_detector import OnnxDetector
from clipn.image_detector import ImageDetector


@cache
def _photos() -> Path:
    """Where the input of all runs lies, which is not damaged here."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder)
    for number in range(6):
        content = specimens.encode(specimens.draw_picture(shift=number), "PNG")
        (folder / f"{number}.png").write_bytes(content)
    (folder / "6.png").write_bytes(b"no image")
    return folder


@cache
def _detector(score: str = "atd") -> Detector:
    detector = Detector(tiny_model(), NAMES, score=score)
    pictures = [specimens.draw_picture(shift=shift) for shift in range(8)]
    detector.calibrate(pictures, method="conformal", alpha=0.2)
    return detector


@cache
def _exported() -> OnnxDetector:
    (_photos() / "detector.onnx").write_bytes(exported_file())
    return OnnxDetector(_photos() / "detector.onnx", threshold=0.5, num_threads=1)


def _run(out: Path, detector: ImageDetector, **options: Any) -> None:
    settings = BatchOptions(rows_per_partition=3, batch_size=3, embeddings="float16")
    score_images(_photos(), out, detector, options=settings, **options)


def _rows_in(out: Path) -> list[object]:
    """All rows, as a reader gets them that compares checksums."""
    try:
        return [
            pq.read_table(path, page_checksum_verification=True).to_pylist()
            for path in sorted(out.glob("part-*.parquet"))
        ]
    except (OSError, pa.ArrowException) as error:
        raise DataError(str(error)) from error


def _write_stopped(folder: Path, detector: ImageDetector) -> list[Path]:
    def stop(_: Progress) -> None:
        raise InterruptedError

    with suppress(InterruptedError):
        _run(folder / "out", detector, on_progress=stop)
    found = sorted(path for path in (folder / "out").rglob("*") if path.is_file())
    # Rows that are done are not read again, and a card never is.
    return [path for path in found if not path.match("part-*") and path.suffix != ".md"]


def _go_on(folder: Path, detector: ImageDetector) -> str:
    _run(folder / "out", detector)
    return digest(_rows_in(folder / "out"))


def _write_finished(folder: Path) -> list[Path]:
    _run(folder / "kept", _detector())
    kept = folder / "kept"
    return [*kept.glob("part-*"), kept / "_clipn/plan.json", kept / "_clipn/manifest.json"]


def _score_anew(folder: Path, _: Path) -> str:
    score_images(folder / "kept", folder / "anew", _detector("max_logit"))
    return digest(_rows_in(folder / "anew"))


BATCH_TARGETS = (
    Target(
        name="stopped batches",
        write=lambda folder: _write_stopped(folder, _detector()),
        read=lambda folder, _: _go_on(folder, _detector()),
        is_sealed=True,
    ),
    Target(
        name="stopped batches of exported files",
        write=lambda folder: _write_stopped(folder, _exported()),
        read=lambda folder, _: _go_on(folder, _exported()),
        is_sealed=True,
    ),
    Target(
        name="kept embeddings",
        write=_write_finished,
        read=_score_anew,
        is_sealed=True,
    ),
)
"""Output folders that a run goes on with, or reads."""
