"""A clock that jumps by days, as when it is set: nothing depends on what it says."""

import os
import random
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, tzinfo
from pathlib import Path

import pytest
from kills import WORKS, digest_of, prepare
from own_targets import NAMES, tiny_model
from specimens import draw_picture, encode
from starlette.testclient import TestClient

from clipn.batch import BatchOptions, Progress, score_images
from clipn.data import row_cache
from clipn.detector import Detector
from clipn.serving.app import create_app
from clipn.serving.torch_engine import TorchEngine

DAY = 86_400.0


@contextmanager
def jumping_clock() -> Iterator[list[float]]:
    """Whoever asks for the time hears of another day; yields what was said."""
    draw, real, said = random.Random(0), time.time, []

    def tell() -> float:
        said.append(real() + draw.choice((-4000, -1, 0, 1, 4000)) * DAY)
        return said[-1]

    class Jumping(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:
            return datetime.fromtimestamp(tell(), tz)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time", tell)
        patch.setattr(time, "time_ns", lambda: int(tell() * 1e9))
        patch.setattr("clipn.benchmarks.run.datetime", Jumping)
        yield said


def _scatter_times(folder: Path) -> None:
    """Files as if some of them had been written long ago, and some will be."""
    draw = random.Random(1)
    for path in sorted(folder.rglob("*")):
        moment = time.time() + draw.choice((-4000, -1, 1, 4000)) * DAY
        os.utime(path, (moment, moment))


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The input of all work."""
    folder = tmp_path_factory.mktemp("given")
    prepare(folder)
    return folder


def _undo_the_end(out: Path) -> None:
    """Take away what was written last, so that there is something to go on with."""
    paths = [path for path in out.iterdir() if path.is_file() and path.name != "log.jsonl"]
    checkpoints = sorted((out / "checkpoints").glob("step-*"))
    for path in [*paths[::2], *checkpoints[1:]]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.mark.parametrize("name", ["train", "batch"])
def test_work_goes_on_alike_whatever_the_clock_and_the_times_of_files_say(
    name: str, given: Path, tmp_path: Path
):
    work = WORKS[name]
    work(given, tmp_path / "right")
    with jumping_clock() as said:
        work(given, tmp_path / "out")
        assert digest_of(tmp_path / "out") == digest_of(tmp_path / "right")
        _undo_the_end(tmp_path / "out")
        assert digest_of(tmp_path / "out") != digest_of(tmp_path / "right")
        _scatter_times(tmp_path / "out")
        work(given, tmp_path / "out")
    assert digest_of(tmp_path / "out") == digest_of(tmp_path / "right")
    assert said or name == "batch"


@pytest.mark.parametrize("name", ["cache", "eval"])
def test_caches_are_whole_and_stay_in_use_whatever_the_clock_and_the_times_of_files_say(
    name: str, given: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(row_cache, "BLOCK_ROWS", row_cache.BLOCK_ROWS)  # which the work changes
    work = WORKS[name]
    work(given, tmp_path / "right")
    with jumping_clock():
        work(given, tmp_path / "out")
        _scatter_times(tmp_path / "out")
        times = {path: path.stat().st_mtime for path in (tmp_path / "out").rglob("*.npy")}
        work(given, tmp_path / "out")
    assert digest_of(tmp_path / "out") == digest_of(tmp_path / "right")
    assert {path: path.stat().st_mtime for path in times} == times


def test_rates_and_time_left_follow_no_clock_that_can_be_set(given: Path, tmp_path: Path):
    came: list[Progress] = []
    detector, options = Detector(tiny_model(), NAMES), BatchOptions(rows_per_partition=8)
    with jumping_clock():
        score_images(
            given / "photos", tmp_path / "out", detector, options=options, on_progress=came.append
        )
    assert len(came) == 6
    assert all(0 <= progress.seconds_left < 600 for progress in came)
    assert all(progress.images_per_second > 0.1 for progress in came)


def test_the_service_answers_alike_whatever_the_clock_says():
    picture = ("images", ("a.png", encode(draw_picture(), "PNG")))
    classes = {"classes": ", ".join(NAMES)}
    with TestClient(create_app(TorchEngine(tiny_model()))) as client:
        right = client.post("/v1/detect", files=[picture], data=classes)
        with jumping_clock():
            answers = [client.post("/v1/detect", files=[picture], data=classes) for _ in range(9)]
    assert right.status_code == 200
    assert all(answer.json()["answers"] == right.json()["answers"] for answer in answers)
