"""A real Ray cluster, in processes of this machine."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from ray_cluster import pass_over_its_warnings, start_cluster

from clipn import Detector
from clipn.batch import BatchOptions, LocalEngine, WorkerOptions, score_images
from clipn.errors import DataError

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install clipn[ray]")

pytestmark = pass_over_its_warnings


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    with start_cluster():
        yield


@pytest.mark.usefixtures("cluster")
def test_a_cluster_makes_the_rows_that_this_process_makes(
    tmp_path: Path,
    tars: Path,
    detector: Detector,
    options: BatchOptions,
    read_rows: Callable[[Path], pa.Table],
):
    from clipn.batch.ray_engine import RayEngine

    options = replace(options, embeddings="float32", extra_scores=("msp",))
    engine = RayEngine(min_workers=2, max_workers=2, worker=WorkerOptions(num_threads=1))
    there = score_images(tars, tmp_path / "there", detector, options=options, engine=engine)
    here = score_images(tars, tmp_path / "here", detector, options=options)
    assert read_rows(tmp_path / "there").equals(read_rows(tmp_path / "here"))
    assert replace(there, seconds=0) == replace(here, seconds=0)


@pytest.mark.usefixtures("cluster")
def test_a_cluster_makes_the_same_rows_with_an_exported_file(
    exported_file: Path,
    tmp_path: Path,
    tars: Path,
    options: BatchOptions,
    read_rows: Callable[[Path], pa.Table],
):
    from clipn.batch.ray_engine import RayEngine
    from clipn.export.onnx_detector import OnnxDetector

    exported, worker = OnnxDetector(exported_file), WorkerOptions(num_threads=1)
    for name, engine in (("there", RayEngine(worker=worker)), ("here", LocalEngine(worker=worker))):
        score_images(tars, tmp_path / name, exported, options=options, engine=engine)
    assert read_rows(tmp_path / "there").equals(read_rows(tmp_path / "here"))


@pytest.mark.usefixtures("cluster")
def test_what_stops_a_worker_is_said_as_here(tmp_path: Path):
    from clipn.batch.ray_engine import RayEngine

    with pytest.raises(DataError, match=r"plan.json cannot be read"):
        list(RayEngine().run(str(tmp_path), [0]))


def test_numbers_that_cannot_be_are_refused():
    from clipn.batch.ray_engine import RayEngine

    with pytest.raises(ValueError, match="got 3 and 2"):
        RayEngine(min_workers=3, max_workers=2)
    with pytest.raises(ValueError, match="num_gpus must not be negative; got -1"):
        RayEngine(num_gpus=-1)
