"""Kept embeddings: other classes without the images, and the answers that images would get."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clipn import Detector
from clipn.batch import BatchOptions, score_images
from clipn.errors import DataError, ModelError
from clipn.model import CLIPN

Read = Callable[[Path], pa.Table]
OTHER_CLASSES = ("pizza", "sports car", "moon", "coin")


@pytest.fixture
def kept(tmp_path: Path, folder: Path, detector: Detector, options: BatchOptions) -> Path:
    options = replace(options, embeddings="float32")
    score_images(folder, tmp_path / "kept", detector, options=options)
    return tmp_path / "kept"


def test_other_classes_are_answered_without_the_images(
    tmp_path: Path, folder: Path, kept: Path, detector: Detector, read_rows: Read
):
    other = Detector(detector.model, OTHER_CLASSES)
    options = BatchOptions(extra_scores=("mcm",))
    score_images(folder, tmp_path / "seen", other, options=options)
    folder.rename(tmp_path / "gone")
    manifest = score_images(kept, tmp_path / "again", other, options=options)
    again, seen = read_rows(tmp_path / "again"), read_rows(tmp_path / "seen")
    assert (manifest.num_in, manifest.num_out, manifest.num_failed) == (20, 20, 2)
    for column in ("image", "error", "label", "best_class", "is_ood", "detector_fingerprint"):
        assert again[column].equals(seen[column])
    for column in ("score", "score_mcm"):
        np.testing.assert_allclose(again[column].to_numpy(), seen[column].to_numpy(), atol=2e-5)


def test_exact_rescoring_gives_the_scores_of_the_images_themselves(
    tmp_path: Path, kept: Path, detector: Detector, read_rows: Read
):
    score_images(kept, tmp_path / "again", detector, options=BatchOptions(precision="exact"))
    again, first = read_rows(tmp_path / "again"), read_rows(kept)
    np.testing.assert_allclose(again["score"].to_numpy(), first["score"].to_numpy(), atol=1e-12)


def test_half_precision_takes_half_the_room_and_moves_scores_a_little(
    tmp_path: Path, folder: Path, detector: Detector, options: BatchOptions, read_rows: Read
):
    half = replace(options, embeddings="float16")
    score_images(folder, tmp_path / "half", detector, options=half)
    rows = read_rows(tmp_path / "half")
    assert rows.schema.field("embedding").type == pa.list_(pa.float16(), 24)
    assert rows["embedding"].null_count == 2
    score_images(tmp_path / "half", tmp_path / "again", detector)
    again = read_rows(tmp_path / "again")
    np.testing.assert_allclose(again["score"].to_numpy(), rows["score"].to_numpy(), atol=5e-3)


def test_a_part_without_a_readable_image_is_scored_anew(
    tmp_path: Path, folder: Path, kept: Path, detector: Detector, read_rows: Read
):
    options = BatchOptions(rows_per_partition=1, embeddings="float16")
    score_images(folder, tmp_path / "one by one", detector, options=options)
    manifest = score_images(tmp_path / "one by one", tmp_path / "again", detector)
    assert (manifest.num_out, manifest.num_failed) == (20, 2)
    assert read_rows(tmp_path / "again")["error"].equals(read_rows(kept)["error"])


def test_damage_to_a_kept_run_is_a_known_error(tmp_path: Path, kept: Path, detector: Detector):
    plan, part = kept / "_clipn" / "plan.json", kept / "part-00000000.parquet"
    whole = plan.read_text()
    plan.write_text(whole.replace("image_fingerprint", "image_fingerprnt"))
    with pytest.raises(ModelError, match="are of the image tower None"):
        score_images(kept, tmp_path / "again", detector)
    plan.write_text(whole)
    content = bytearray(part.read_bytes())
    columns = pq.read_metadata(part).row_group(0)
    content[columns.column(columns.num_columns - 1).data_page_offset + 99] ^= 1
    part.write_bytes(content)
    with pytest.raises(DataError, match=r"part-00000000\.parquet' is damaged: .*CRC"):
        score_images(kept, tmp_path / "again", detector)
    part.unlink()
    with pytest.raises(DataError, match="holds 3 part files, but 4 were written"):
        score_images(kept, tmp_path / "anew", detector)


def test_embeddings_of_another_image_tower_are_refused(
    tmp_path: Path, kept: Path, plain_model: CLIPN
):
    detector = Detector(plain_model, OTHER_CLASSES, score="energy", threshold=0.0)
    with pytest.raises(ModelError, match="are of the image tower"):
        score_images(kept, tmp_path / "again", detector)


def test_a_run_that_is_not_finished_is_refused(tmp_path: Path, kept: Path, detector: Detector):
    (kept / "_clipn/manifest.json").unlink()
    with pytest.raises(DataError, match="is not finished: start it again first"):
        score_images(kept, tmp_path / "again", detector)


def test_a_run_that_kept_no_embeddings_is_refused(tmp_path: Path, folder: Path, detector: Detector):
    score_images(folder, tmp_path / "answers", detector)
    with pytest.raises(DataError, match=r"no column 'embedding'.*embeddings='float16' first"):
        score_images(tmp_path / "answers", tmp_path / "again", detector)


def test_kept_embeddings_are_not_kept_twice(tmp_path: Path, kept: Path, detector: Detector):
    with pytest.raises(ValueError, match="embeddings must be 'none'"):
        score_images(kept, tmp_path / "again", detector, options=BatchOptions(embeddings="float16"))
