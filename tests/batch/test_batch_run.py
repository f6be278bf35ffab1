import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clipn import Detector
from clipn.batch import BatchOptions, Progress, score_images
from clipn.errors import DataError, ModelError, NotCalibratedError
from clipn.model import CLIPN
from clipn.predictions import NONE_OF_THESE

Read = Callable[[Path], pa.Table]


def without_names(table: pa.Table) -> list[dict]:
    """Rows without what an image is called, in files, tars and tables."""
    return table.drop_columns(["image", "error"]).to_pylist()


def test_rows_say_what_the_detector_says(
    tmp_path: Path, folder: Path, detector: Detector, options: BatchOptions, read_rows: Read
):
    manifest = score_images(folder, tmp_path / "out", detector, options=options)
    rows = read_rows(tmp_path / "out").to_pylist()
    answers = detector.predict([folder / row["image"] for row in rows], on_error="keep")
    for row, answer in zip(rows, answers, strict=True):
        if answer.error is None:
            assert (row["label"], row["is_ood"]) == (answer.label, answer.is_ood)
            assert row["best_class"] == answer.best_class == row["top_k"][0]["class"]
            assert row["score"] == pytest.approx(answer.score, abs=1e-6)
            assert row["error"] is None
        else:
            assert row["error"] == answer.error
            assert row["label"] is row["score"] is row["is_ood"] is row["top_k"] is None
    assert (manifest.num_in, manifest.num_out, manifest.num_failed) == (20, 20, 2)
    assert manifest.num_partitions == 4
    assert {row["detector_fingerprint"] for row in rows} == {detector.fingerprint()}
    assert {row["model_fingerprint"] for row in rows} == {detector.model.fingerprint()}


def test_files_tars_and_tables_of_the_same_images_give_the_same_rows(
    tmp_path: Path,
    folder: Path,
    tars: Path,
    tables: Path,
    pictures: dict[str, bytes],
    detector: Detector,
    read_rows: Read,
):
    # One image a batch: how many share one moves the last bits.
    options = BatchOptions(batch_size=1, key_column=None)
    for name, source in (("files", folder), ("tars", tars), ("tables", tables)):
        score_images(source, tmp_path / "out" / name, detector, options=options)
    files, in_tars, in_tables = (
        read_rows(tmp_path / "out" / n) for n in ("files", "tars", "tables")
    )
    assert files["image"].to_pylist() == list(pictures)
    assert in_tars["image"].to_pylist()[10:12] == [
        f"0.tar/{list(pictures)[10]}",
        f"1.tar.gz/{list(pictures)[11]}",
    ]
    assert in_tables["image"].to_pylist()[12:14] == ["0.parquet:12", "1.parquet:0"]
    assert without_names(files) == without_names(in_tars) == without_names(in_tables)
    assert files["error"].is_valid().to_pylist() == in_tables["error"].is_valid().to_pylist()


def test_rows_of_tables_are_called_by_their_key(
    tmp_path: Path, tables: Path, pictures: dict[str, bytes], detector: Detector, read_rows: Read
):
    score_images(tables, tmp_path / "out", detector, options=BatchOptions(key_column="key"))
    assert read_rows(tmp_path / "out")["image"].to_pylist() == list(pictures)


def test_tables_may_hold_paths(
    tmp_path: Path, folder: Path, detector: Detector, options: BatchOptions, read_rows: Read
):
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png"))
    paths = [names[0], str(folder / names[1]), f"file://{folder}/{names[2]}", "gone.png", None]
    pq.write_table(pa.table({"image": pa.array(paths)}), folder / "list.parquet")
    score_images(folder / "list.parquet", tmp_path / "out", detector, options=options)
    rows = read_rows(tmp_path / "out")
    assert rows["error"].is_null().to_pylist() == [True, True, True, False, False]
    answers = detector.score([folder / name for name in names[:3]])
    np.testing.assert_allclose(rows["score"].to_numpy()[:3], answers, atol=1e-6)


def test_input_and_output_may_lie_at_any_address(
    tmp_path: Path, folder: Path, detector: Detector, options: BatchOptions, read_rows: Read
):
    memory = fsspec.filesystem("memory")
    memory.put(f"{folder}/", "/batch-in", recursive=True)
    score_images("memory://batch-in", "memory://batch-out", detector, options=options)
    memory.get("/batch-out/", str(tmp_path / "out"), recursive=True)
    score_images(f"file://{folder}", f"file://{tmp_path}/local", detector, options=options)
    far, near = read_rows(tmp_path / "out"), read_rows(tmp_path / "local")
    assert far.drop_columns("error").equals(near.drop_columns("error"))
    assert memory.find("/batch-out", maxdepth=1) == [
        f"/batch-out/part-{number:08d}.parquet" for number in range(4)
    ]
    memory.rm("/batch-in", recursive=True)
    memory.rm("/batch-out", recursive=True)


def test_extra_scores_are_those_of_detectors_with_these_scores(
    tmp_path: Path, folder: Path, detector: Detector, read_rows: Read
):
    options = BatchOptions(extra_scores=("msp", "ctw", "atd"), batch_size=64)
    score_images(folder / "a", tmp_path / "out", detector, options=options)
    rows = read_rows(tmp_path / "out").filter(pa.compute.field("error").is_null())
    assert "score_atd" not in rows.column_names
    images = [folder / "a" / name for name in rows["image"].to_pylist()]
    for score in ("msp", "ctw"):
        other = Detector(detector.model, detector.class_names, score=score)
        np.testing.assert_allclose(rows[f"score_{score}"].to_numpy(), other.score(images))


def test_a_threshold_decides(tmp_path: Path, folder: Path, detector: Detector, read_rows: Read):
    scores = detector.score(sorted(folder.glob("a/[0-9]*.png")))
    other = Detector(detector.model, detector.class_names, threshold=float(np.median(scores)))
    score_images(folder / "a", tmp_path / "out", other)
    labels = read_rows(tmp_path / "out")["label"].drop_null().to_pylist()
    assert labels.count(NONE_OF_THESE) == 4
    assert len(labels) == 9


def test_a_finished_run_is_left_alone(
    tmp_path: Path, folder: Path, detector: Detector, options: BatchOptions
):
    first = score_images(folder, tmp_path / "out", detector, options=options)
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("part-*")}
    told: list[Progress] = []
    again = score_images(
        folder, tmp_path / "out", detector, options=options, on_progress=told.append
    )
    assert replace(again, seconds=0) == replace(first, seconds=0)
    assert times == {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("part-*")}
    assert told == []


def test_progress_tells_counts_rate_and_time_left(
    tmp_path: Path, folder: Path, detector: Detector, options: BatchOptions
):
    told: list[Progress] = []
    score_images(folder, tmp_path / "out", detector, options=options, on_progress=told.append)
    assert [progress.num_done for progress in told] == [1, 2, 3, 4]
    assert [progress.num_images for progress in told] == [6, 12, 18, 20]
    assert told[-1].num_failed == 2
    assert all(progress.images_per_second > 0 for progress in told)
    assert told[0].seconds_left > 0
    assert told[-1].seconds_left == 0


def test_the_manifest_keeps_counts_and_what_they_depend_on(
    tmp_path: Path, folder: Path, detector: Detector, options: BatchOptions
):
    score_images(folder, tmp_path / "out", detector, options=options)
    manifest = json.loads((tmp_path / "out/_clipn/manifest.json").read_text())
    assert (manifest["num_in"], manifest["num_out"], manifest["num_failed"]) == (20, 20, 2)
    assert manifest["input"] == f"file://{folder}"
    assert manifest["detector_fingerprint"] == detector.fingerprint()
    assert manifest["options"]["rows_per_partition"] == 6


def test_another_input_is_refused(
    tmp_path: Path, folder: Path, detector: Detector, options: BatchOptions
):
    score_images(folder, tmp_path / "out", detector, options=options)
    (folder / "a/00.png").unlink()
    with pytest.raises(DataError, match=r"something else: input_fingerprint '.*' then, '.*' now"):
        score_images(folder, tmp_path / "out", detector, options=options)


def test_another_detector_is_refused(
    tmp_path: Path, folder: Path, detector: Detector, options: BatchOptions
):
    score_images(folder, tmp_path / "out", detector, options=options)
    other = Detector(detector.model, [*CLASSES_BUT_ONE, "pizza"])
    with pytest.raises(DataError, match="detector_fingerprint"):
        score_images(folder, tmp_path / "out", other, options=options)


def test_other_options_are_refused(
    tmp_path: Path, folder: Path, detector: Detector, options: BatchOptions
):
    score_images(folder, tmp_path / "out", detector, options=options)
    with pytest.raises(DataError, match=r"top_k 2 then, 3 now.*existing='replace'"):
        score_images(folder, tmp_path / "out", detector, options=replace(options, top_k=3))


def test_a_run_can_be_started_over(
    tmp_path: Path, folder: Path, detector: Detector, options: BatchOptions, read_rows: Read
):
    score_images(folder, tmp_path / "out", detector, options=options)
    fewer = replace(options, rows_per_partition=100, top_k=1)
    score_images(folder, tmp_path / "out", detector, options=fewer, existing="replace")
    assert [path.name for path in (tmp_path / "out").glob("part-*")] == ["part-00000000.parquet"]
    assert {len(top) for top in read_rows(tmp_path / "out")["top_k"].to_pylist() if top} == {1}


def test_a_run_can_be_refused_where_there_is_one(tmp_path: Path, folder: Path, detector: Detector):
    score_images(folder, tmp_path / "out", detector)
    with pytest.raises(DataError, match="holds a run already"):
        score_images(folder, tmp_path / "out", detector, existing="refuse")


def test_part_files_of_something_else_are_not_overwritten(
    tmp_path: Path, folder: Path, detector: Detector
):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/part-00000000.parquet").write_bytes(b"somebody's")
    with pytest.raises(DataError, match="part files of something else"):
        score_images(folder, tmp_path / "out", detector)


def test_a_damaged_part_file_is_named(
    tmp_path: Path, folder: Path, detector: Detector, options: BatchOptions
):
    score_images(folder, tmp_path / "out", detector, options=options)
    (tmp_path / "out/part-00000002.parquet").write_bytes(b"")
    with pytest.raises(DataError, match=r"part-00000002.parquet cannot be read: .*made again"):
        score_images(folder, tmp_path / "out", detector, options=options)


def test_what_cannot_work_is_refused_before_anything_is_written(
    tmp_path: Path, folder: Path, detector: Detector, plain_model: CLIPN
):
    undecided = Detector(plain_model, CLASSES_BUT_ONE, score="energy")
    with pytest.raises(NotCalibratedError, match="no decision rule"):
        score_images(folder, tmp_path / "out", undecided)
    with pytest.raises(ModelError, match='atd needs a "no"'):
        score_images(
            folder,
            tmp_path / "out",
            Detector(plain_model, CLASSES_BUT_ONE, score="energy", threshold=0.0),
            options=BatchOptions(extra_scores=("atd",)),
        )
    with pytest.raises(ValueError, match="both 'file://"):
        score_images(folder, folder, detector)
    assert not (tmp_path / "out").exists()


CLASSES_BUT_ONE = ("tabby cat", "espresso")


def test_a_detector_that_was_changed_in_the_output_folder_is_refused(
    tmp_path: Path, folder: Path, detector: Detector, options: BatchOptions
):
    def stop(_: Progress) -> None:
        raise InterruptedError

    detector.calibrate([folder / "a" / "00.png"] * 9, method="conformal", alpha=0.2)
    with pytest.raises(InterruptedError):
        score_images(folder, tmp_path / "out", detector, options=options, on_progress=stop)
    path = tmp_path / "out" / "_clipn" / "detector" / "detector.json"
    kept = json.loads(path.read_text())
    kept["calibration"]["scores"][0] += 1e-6
    path.write_text(json.dumps(kept))
    with pytest.raises(DataError, match="is not the detector that the run was planned with"):
        score_images(folder, tmp_path / "out", detector, options=options)


def test_a_plan_that_was_damaged_is_refused(
    tmp_path: Path, folder: Path, detector: Detector, options: BatchOptions
):
    score_images(folder, tmp_path / "out", detector, options=options)
    (tmp_path / "out" / "part-00000000.parquet").unlink()
    files = tmp_path / "out" / "_clipn" / "files.parquet"
    files.write_bytes(files.read_bytes().replace(b"image", b"imagf"))
    with pytest.raises(DataError, match=r"files\.parquet is damaged"):
        score_images(folder, tmp_path / "out", detector, options=options)
    plan = tmp_path / "out" / "_clipn" / "plan.json"
    plan.write_text(plan.read_text().replace('    "input_kind"', '    "input_kynd"'))
    with pytest.raises(DataError, match="its plan has entries that are unknown"):
        score_images(folder, tmp_path / "out", detector, options=options)
