"""Two processes at one folder: one waits and finds the work done, or is told that it is taken."""

import logging
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from clipn.data.row_cache import cached_rows
from clipn.errors import TrainingError
from clipn.locking import hold_folder

# A process that holds a folder until its standard input ends.
HOLD = """
import sys
from pathlib import Path
from clipn.locking import hold_folder

with hold_folder(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path: Path):
    """Another process that holds tmp_path/folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "folder")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_who_may_not_wait_is_told(holder: subprocess.Popen[str], tmp_path: Path):
    refusal = TrainingError("it is taken")
    with (
        pytest.raises(TrainingError, match="it is taken"),
        hold_folder(tmp_path / "folder", refusal=refusal),
    ):
        pass


def test_a_killed_process_holds_nothing(holder: subprocess.Popen[str], tmp_path: Path):
    holder.kill()
    holder.wait()
    with hold_folder(tmp_path / "folder", refusal=TrainingError("it is taken")):
        assert (tmp_path / "folder" / "lock").exists()
    assert not (tmp_path / "folder" / "lock").exists()


def test_who_waits_says_so_and_comes_next(
    holder: subprocess.Popen[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    assert holder.stdin is not None
    said = threading.Event()

    class Release(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.set()
            holder.stdin.close()

    log = logging.getLogger("clipn.locking")
    log.addHandler(release := Release())
    try:
        with hold_folder(tmp_path / "folder"):
            assert said.is_set()
    finally:
        log.removeHandler(release)
    assert "is being made by another process" in caplog.text


def test_rows_are_made_once_by_whoever_comes_first(tmp_path: Path):
    begun, num_made = threading.Event(), []

    def make(block: range) -> tuple[np.ndarray, dict[int, str]]:
        num_made.append(len(block))
        begun.set()
        return np.ones((len(block), 2), dtype=np.float32), {}

    def ask() -> None:
        rows, _ = cached_rows(tmp_path / "rows", num_rows=9, identity={}, make_block=make)
        assert rows.shape == (9, 2)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert num_made == [9]
    assert sorted(path.name for path in (tmp_path / "rows").iterdir()) == [
        "manifest.json",
        "rows.npy",
    ]
