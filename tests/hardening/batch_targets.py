"""What batch runs keep in their output folders: plans, detectors, rows, embeddings."""

import atexit
import shutil
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import specimens
from own_targets import NAMES, tiny_model
from targets import Target, digest

from clipn.batch import BatchOptions, Progress, score_images
from clipn.detector import Detector
from clipn.errors import DataError


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


def _detector(score: str = "atd") -> Detector:
    return Detector(tiny_model(), NAMES, score=score, rule="ctw")


def _run(out: Path, **options: object) -> None:
    settings = BatchOptions(rows_per_partition=3, batch_size=3, embeddings="float16")
    score_images(_photos(), out, _detector(), options=settings, **options)


def _rows_in(out: Path) -> list[object]:
    """All rows, as a reader gets them that compares checksums."""
    try:
        return [
            pq.read_table(path, page_checksum_verification=True).to_pylist()
            for path in sorted(out.glob("part-*.parquet"))
        ]
    except (OSError, pa.ArrowException) as error:
        raise DataError(str(error)) from error


def _write_stopped(folder: Path) -> list[Path]:
    def stop(_: Progress) -> None:
        raise InterruptedError

    with suppress(InterruptedError):
        _run(folder / "out", on_progress=stop)
    found = sorted(path for path in (folder / "out").rglob("*") if path.is_file())
    own = [path for path in found if "detector" not in path.parts]
    return own * 3 + [path for path in found if path.suffix == ".safetensors"]


def _go_on(folder: Path, _: Path) -> str:
    _run(folder / "out")
    return digest(_rows_in(folder / "out"))


def _write_finished(folder: Path) -> list[Path]:
    _run(folder / "kept")
    kept = folder / "kept"
    return [*kept.glob("part-*"), kept / "_clipn/plan.json", kept / "_clipn/manifest.json"]


def _score_anew(folder: Path, _: Path) -> str:
    score_images(folder / "kept", folder / "anew", _detector("max_logit"))
    return digest(_rows_in(folder / "anew"))


BATCH_TARGETS = (
    Target(
        name="stopped batches",
        write=_write_stopped,
        read=_go_on,
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
