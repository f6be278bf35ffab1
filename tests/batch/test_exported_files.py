"""Batch runs with exported files: the rows that the file's detector gives, without torch."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from clipn import Detector
from clipn.batch import BatchOptions, LocalEngine, WorkerOptions, score_images
from clipn.errors import DataError, ModelError

pytest.importorskip("onnxruntime", reason='ONNX Runtime is absent: pip install "clipn[export]"')

from clipn.export.onnx_detector import OnnxDetector
from clipn.export.writing import export_detector

Read = Callable[[Path], pa.Table]


@pytest.fixture(scope="module")
def tower(made_from: Detector, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that takes its classes as input."""
    path = tmp_path_factory.mktemp("exported") / "tower.onnx"
    export_detector(made_from, path, banks="input")
    return path


def assert_rows_are_the_answers(rows: pa.Table, detector: OnnxDetector, folder: Path) -> None:
    """Row by row what `clipn detect` says of the same images with the same file."""
    images = [folder / name for name in rows["image"].to_pylist()]
    answers = detector.predict(images, on_error="keep")
    for row, answer in zip(rows.to_pylist(), answers, strict=True):
        assert row["error"] == answer.error
        if answer.error is not None:
            assert row["label"] is row["score"] is row["p_value"] is row["top_k"] is None
            continue
        assert (row["label"], row["is_ood"]) == (answer.label, answer.is_ood)
        assert row["best_class"] == answer.best_class == row["top_k"][0]["class"]
        assert row["score"] == pytest.approx(answer.score, abs=1e-6)
        assert row["p_value"] == answer.p_value


@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
def test_rows_say_what_the_file_says(
    runtime,
    exported_file: Path,
    tmp_path: Path,
    folder: Path,
    options: BatchOptions,
    read_rows: Read,
):
    pytest.importorskip(runtime.replace("onnx", "onnxruntime"), reason="the runtime is absent")
    exported = OnnxDetector(exported_file, runtime=runtime)
    options = replace(options, extra_scores=("msp",), top_k=3)

    manifest = score_images(folder, tmp_path / "out", exported, options=options)

    rows = read_rows(tmp_path / "out")
    assert (manifest.num_in, manifest.num_out, manifest.num_failed) == (20, 20, 2)
    assert_rows_are_the_answers(rows, exported, folder)
    assert set(rows["model_fingerprint"].to_pylist()) == {exported.metadata.model_fingerprint}
    assert set(rows["detector_fingerprint"].to_pylist()) == {exported.fingerprint()}


def test_scores_and_logits_are_those_of_the_detector(
    made_from: Detector,
    exported_file: Path,
    tmp_path: Path,
    folder: Path,
    options: BatchOptions,
    read_rows: Read,
):
    options = replace(options, extra_scores=("energy",))
    score_images(folder, tmp_path / "torch", made_from, options=options)
    score_images(folder, tmp_path / "file", OnnxDetector(exported_file), options=options)
    expected, found = read_rows(tmp_path / "torch"), read_rows(tmp_path / "file")
    assert found["label"].equals(expected["label"])
    for column in ("score", "score_energy"):
        np.testing.assert_allclose(found[column], expected[column], rtol=1e-4, atol=1e-4)
    for ours, theirs in zip(found["top_k"].to_pylist(), expected["top_k"].to_pylist(), strict=True):
        assert (ours is None) == (theirs is None)
        for one, other in zip(ours or (), theirs or (), strict=True):
            assert one["class"] == other["class"]
            assert one["logit_yes"] == pytest.approx(other["logit_yes"], abs=1e-3)
            assert one["logit_no"] == pytest.approx(other["logit_no"], abs=1e-3)


def test_classes_as_input_and_a_promise_travel_with_the_run(
    made_from: Detector, tower: Path, tmp_path: Path, folder: Path, read_rows: Read
):
    images = sorted(folder.glob("*/[0-9]*.png"))
    own = Detector(made_from.model, ["moon", "coin"], score="energy")
    own.calibrate(images[::2], method="conformal", alpha=0.2, per_class=False)
    own.save(tmp_path / "classes")
    exported = OnnxDetector(tower, classes=tmp_path / "classes")

    # In a process that knows nothing but the output folder.
    engine = LocalEngine(num_processes=2, worker=WorkerOptions(num_threads=1))
    score_images(folder, tmp_path / "out", exported, engine=engine)

    rows = read_rows(tmp_path / "out")
    assert_rows_are_the_answers(rows, exported, folder)
    refused = rows["is_ood"].to_pylist()
    assert refused == [p if p is None else p <= 0.2 for p in rows["p_value"].to_pylist()]


def test_what_was_calibrated_or_asked_for_here_decides_there(
    exported_file: Path, tmp_path: Path, folder: Path, read_rows: Read
):
    exported = OnnxDetector(exported_file, score="max_logit")
    exported.calibrate(sorted(folder.glob("*/[0-9]*.png")), method="conformal", alpha=0.25)
    score_images(folder, f"memory://{tmp_path}/out", exported)  # where no file can be opened
    score_images(folder, tmp_path / "out", exported)
    rows = read_rows(tmp_path / "out")
    assert rows["p_value"].null_count == 2
    assert_rows_are_the_answers(rows, exported, folder)


def test_kept_embeddings_are_scored_anew_by_a_detector_of_the_same_tower(
    made_from: Detector, exported_file: Path, tmp_path: Path, folder: Path, read_rows: Read
):
    exported = OnnxDetector(exported_file)
    keep = BatchOptions(embeddings="float32")
    score_images(folder, tmp_path / "kept", exported, options=keep)
    other = Detector(made_from.model, ["moon", "coin"])
    score_images(tmp_path / "kept", tmp_path / "again", other)
    score_images(folder, tmp_path / "seen", other)
    again, seen = read_rows(tmp_path / "again"), read_rows(tmp_path / "seen")
    np.testing.assert_allclose(again["score"], seen["score"], atol=1e-4)
    with pytest.raises(ModelError, match="answers for images only"):
        score_images(tmp_path / "kept", tmp_path / "third", exported)


def test_embeddings_in_int8_are_not_kept(exported_file: Path, tmp_path: Path, folder: Path):
    exported = OnnxDetector(exported_file)
    exported.metadata = replace(exported.metadata, precision="int8", image_fingerprint=None)
    with pytest.raises(ModelError, match="export it in float32, or keep none"):
        score_images(folder, tmp_path / "out", exported, options=BatchOptions(embeddings="float16"))
    assert not (tmp_path / "out").exists()


def test_a_run_goes_on_with_the_same_file_and_decision_only(
    exported_file: Path, tmp_path: Path, folder: Path, options: BatchOptions, read_rows: Read
):
    score_images(folder, tmp_path / "out", OnnxDetector(exported_file), options=options)
    whole = read_rows(tmp_path / "out")
    (tmp_path / "out" / "part-00000001.parquet").unlink()
    for other in (
        OnnxDetector(exported_file, threshold=0.4),
        OnnxDetector(exported_file, score="ctw"),
    ):
        with pytest.raises(DataError, match="holds a run of something else"):
            score_images(folder, tmp_path / "out", other, options=options)
    score_images(folder, tmp_path / "out", OnnxDetector(exported_file), options=options)
    assert read_rows(tmp_path / "out").equals(whole)
    with pytest.raises(ValueError, match="The file has no score 'odin'"):
        score_images(
            folder,
            tmp_path / "other",
            OnnxDetector(exported_file),
            options=replace(options, extra_scores=("odin",)),
        )


def test_a_damaged_decision_is_named(exported_file: Path, tmp_path: Path, folder: Path):
    score_images(folder, tmp_path / "out", OnnxDetector(exported_file))
    (tmp_path / "out/part-00000000.parquet").unlink()
    (tmp_path / "out/_clipn/detector/decision.json").write_text("{}")
    with pytest.raises(DataError, match=r"decision\.json cannot be read"):
        score_images(folder, tmp_path / "out", OnnxDetector(exported_file))


def test_the_command_takes_a_file_and_imports_no_torch(
    exported_file: Path, tmp_path: Path, folder: Path
):
    words = ["batch", str(folder), str(tmp_path / "out"), "--detector", str(exported_file)]
    script = f"""
import sys
from clipn.cli.main import run
code = run({words!r})
print([name for name in ("torch", "torchvision", "open_clip", "timm") if name in sys.modules])
sys.exit(code)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[0].startswith("20 images in, 20 rows out")
    assert done.stdout.splitlines()[-1] == "[]"
