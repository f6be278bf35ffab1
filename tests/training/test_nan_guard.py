"""Numbers that are none: the run ends, says where they came from, and keeps its checkpoint."""

import json

import numpy as np
import pytest
import torch

from clipn.errors import TrainingError
from clipn.files import file_crc32, read_json, write_json
from clipn.training import train


def checkpoints_in(folder):
    return sorted(path.name for path in (folder / "run" / "checkpoints").iterdir())


def spoil(folder, row):
    """Make the image embedding of a row one that is no number."""
    images = np.load(folder / "cache" / "image.npy")
    images[row] = np.nan
    np.save(folder / "cache" / "image.npy", images)
    manifest = read_json(folder / "cache" / "manifest.json")
    manifest["crc32"]["image"] = file_crc32(folder / "cache" / "image.npy")
    write_json(folder / "cache" / "manifest.json", manifest)


def test_a_pair_that_is_no_number_is_named(configure, fresh_model, cache, tmp_path):
    del cache
    spoil(tmp_path, 17)
    report = tmp_path / "run" / "nan-step-1.json"
    message = (
        r"loss of step 1 is no longer .* number \(total nan, itbo_diagonal nan, .*; 1 of its 24 "
        r"pairs have embeddings that are no numbers, the first is pair 17 of "
        rf"pairs\.parquet\[0:24\]\. {report} lists the batch"
    )
    with pytest.raises(TrainingError, match=message):
        train(configure(batch_size=24), model=fresh_model())
    found = json.loads(report.read_text())
    assert found["terms"]["itbo_diagonal"] == "nan"
    assert np.isfinite(float(found["terms"]["tso"]))
    first, *others = found["pairs"]
    assert first == {
        "shard": "pairs.parquet[0:24]", "pair": 17, "row": 17, "is_finite": False,
    }  # fmt: skip
    assert sorted(pair["row"] for pair in others) == [*range(17), *range(18, 24)]
    assert all(pair["is_finite"] for pair in others)


def test_a_pair_that_is_no_number_is_named_in_whatever_batch_it_comes(
    configure, fresh_model, cache, tmp_path
):
    del cache
    spoil(tmp_path, 17)
    seen = []
    with pytest.raises(TrainingError, match=r"1 of its 8 pairs .* pair 17") as error:
        train(configure(), model=fresh_model(), on_step=seen.append)
    assert f"The loss of step {len(seen) + 1} is" in str(error.value)


def test_a_learning_rate_beyond_all_bounds_ends_the_run(configure, fresh_model):
    with pytest.raises(TrainingError, match=r"step 2 .* the embeddings of its 8 pairs are all fin"):
        train(configure(lr=1e30), model=fresh_model())


def test_weights_that_are_no_numbers_never_become_a_checkpoint(
    configure, fresh_model, monkeypatch, tmp_path
):
    model = fresh_model()

    def break_weights(record):
        if record.step == 4:
            with torch.no_grad():
                model.no_tower.text.text_projection[0, 0] = torch.inf

    with pytest.raises(
        TrainingError, match=r"text_projection are no longer finite .* after step 4"
    ):
        train(configure(), model=model, on_step=break_weights)
    assert checkpoints_in(tmp_path) == ["step-00000002"]
