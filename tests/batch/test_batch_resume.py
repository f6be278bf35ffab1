"""A run that is killed and started again: no row is lost, none is there twice."""

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from clipn import Detector
from clipn.batch import BatchOptions, score_images
from clipn.errors import DataError

TWO_PROCESSES = Path(__file__).with_name("two_processes.py")


def run_until_rename(
    last: int, source: Path, output: Path, detector: Detector, options: BatchOptions
) -> None:
    """Run, and be killed when a file is written, but not yet renamed, for the `last`th time."""
    num_renames = 0

    def kill_at_rename(event: str, _: tuple[object, ...]) -> None:
        nonlocal num_renames
        if event == "os.rename":
            num_renames += 1
            if num_renames == last:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(kill_at_rename)
    score_images(source, output, detector, options=options)


# A run renames files of the detector, the list of images, the partitions, the plan, four part files
# and the manifest.
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
@pytest.mark.parametrize(
    ("num_plans", "num_parts"),
    [(0, 0), (1, 0), (1, 2), (1, 4)],
    ids=["at the plan", "at the first part", "at a later part", "at the manifest"],
)
def test_a_run_that_was_killed_at_any_file_goes_on_to_the_same_rows(
    num_plans: int,
    num_parts: int,
    tmp_path: Path,
    folder: Path,
    detector: Detector,
    options: BatchOptions,
    read_rows: Callable[[Path], pa.Table],
):
    num_renames = count_renames(lambda: detector.save(tmp_path / "detector"))
    moment = num_renames + 2 + num_plans + num_parts + 1
    run = multiprocessing.get_context("fork").Process(
        target=run_until_rename, args=(moment, folder, tmp_path / "out", detector, options)
    )
    run.start()
    run.join()
    assert run.exitcode == -signal.SIGKILL
    assert (tmp_path / "out/_clipn/plan.json").exists() == bool(num_plans)
    assert len(list((tmp_path / "out").glob("part-*"))) == num_parts
    assert not (tmp_path / "out/_clipn/manifest.json").exists()
    manifest = score_images(folder, tmp_path / "out", detector, options=options)
    assert (manifest.num_in, manifest.num_out) == (20, 20)
    score_images(folder, tmp_path / "whole", detector, options=options)
    assert read_rows(tmp_path / "out").equals(read_rows(tmp_path / "whole"))
    assert not list((tmp_path / "out").glob(".part-*"))


def count_renames(work: Callable[[], None]) -> int:
    events: list[str] = []
    is_over = False

    def note(event: str, _: tuple[object, ...]) -> None:
        if event == "os.rename" and not is_over:
            events.append(event)

    sys.addaudithook(note)  # there is no way to take it away again
    work()
    is_over = True
    return len(events)


def test_workers_end_with_a_killed_run_and_their_files_count(
    tmp_path: Path,
    folder: Path,
    detector: Detector,
    options: BatchOptions,
    read_rows: Callable[[Path], pa.Table],
):
    detector.save(tmp_path / "detector")
    run = subprocess.Popen(
        [sys.executable, TWO_PROCESSES, folder, tmp_path / "out", tmp_path / "detector"],
        stdout=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        text=True,
    )
    assert run.stdout.readline() == "a partition is done\n"
    run.kill()
    # Its output ends where nobody is left who could write to it: workers have its standard output.
    run.communicate(timeout=60)
    assert list((tmp_path / "out").glob("part-*"))
    score_images(folder, tmp_path / "out", detector, options=options)
    score_images(folder, tmp_path / "whole", detector, options=options)
    assert read_rows(tmp_path / "out").equals(read_rows(tmp_path / "whole"))


def test_files_left_by_killed_workers_are_cleared_away(
    tmp_path: Path, folder: Path, detector: Detector
):
    score_images(folder, tmp_path / "out", detector)
    planned = sorted(path.name for path in (tmp_path / "out/_clipn").iterdir())
    (tmp_path / "out/.part-00000000.parquet.0123456789ab.tmp").write_bytes(b"half a f")
    (tmp_path / "out/_clipn/.files.parquet.0123456789ab.tmp").write_bytes(b"half a f")
    score_images(folder, tmp_path / "out", detector)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "_clipn",
        "part-00000000.parquet",
    ]
    assert sorted(path.name for path in (tmp_path / "out/_clipn").iterdir()) == planned


def test_a_file_that_was_not_planned_is_an_error(tmp_path: Path, folder: Path, detector: Detector):
    score_images(folder, tmp_path / "out", detector)
    part = tmp_path / "out/part-00000000.parquet"
    part.with_name("part-00000001.parquet").write_bytes(part.read_bytes())
    with pytest.raises(DataError, match="holds 2 part files, but 1 were planned"):
        score_images(folder, tmp_path / "out", detector)
