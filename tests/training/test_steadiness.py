"""What may happen to files under a run: a clear error, and the last checkpoint as it was."""

import numpy as np
import pandas as pd
import pytest

from clipn.errors import DataError, TrainingError
from clipn.training import train


@pytest.fixture
def interrupted(configure, fresh_model, tmp_path):
    """A run that was interrupted after step 5; its checkpoints."""

    def on_step(record):
        if record.step == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(configure(), model=fresh_model(), on_step=on_step)
    return tmp_path / "run" / "checkpoints"


@pytest.fixture
def assert_goes_on(interrupted, configure, fresh_model, assert_same_weights, tmp_path):
    """That the checkpoints are as they were, and lead to what they would have led to."""

    def check():
        names = sorted(path.name for path in interrupted.iterdir())
        assert names == ["step-00000002", "step-00000004"]
        resumed = train(configure(), model=fresh_model())
        other = configure(out_dir=tmp_path / "other")
        assert_same_weights(resumed, train(other, model=fresh_model()))

    return check


def test_a_disk_that_is_full_costs_one_checkpoint(
    assert_goes_on, configure, fresh_model, limit_file_size
):
    cause = r"checkpoint of step 6 cannot be written: .*File too large.* start again to go on"
    with limit_file_size(100_000), pytest.raises(TrainingError, match=cause):
        train(configure(), model=fresh_model())
    assert_goes_on()


def test_changed_pairs_are_no_longer_those_of_the_run(
    assert_goes_on, configure, fresh_model, pair_rows, tmp_path
):
    pd.DataFrame(pair_rows[:-1]).to_parquet(tmp_path / "pairs.parquet")
    changed = configure(pairs={"source": str(tmp_path / "pairs.parquet")})
    with pytest.raises(DataError, match="was built from something else: data_fingerprint"):
        train(changed, model=fresh_model())
    assert_goes_on()


def test_a_cache_that_lost_rows_is_refused(assert_goes_on, configure, fresh_model, tmp_path):
    path = tmp_path / "cache" / "yes.npy"
    content = path.read_bytes()
    np.save(path, np.load(path)[:-1])
    with pytest.raises(DataError, match=r"yes\.npy cannot be read: its checksum is not"):
        train(configure(), model=fresh_model())
    path.write_bytes(content[:-40])
    with pytest.raises(DataError, match=r"yes\.npy cannot be read"):
        train(configure(), model=fresh_model())
    path.write_bytes(content)
    assert_goes_on()


def test_an_unreadable_shard_is_named_or_left_out(
    configure, fresh_model, pair_rows, tmp_path, read_log
):
    folder = tmp_path / "shards"
    folder.mkdir()
    for number in range(2):
        rows = pair_rows[12 * number : 12 * number + 12]
        pd.DataFrame(rows).to_parquet(folder / f"{number}.parquet")
    content = (folder / "1.parquet").read_bytes()
    (folder / "1.parquet").write_bytes(content[: len(content) // 2])
    pairs = {"source": str(folder)}
    with pytest.raises(DataError, match=r"1 of 2 shards are broken, .* shard 1\.parquet is broken"):
        train(configure(pairs=pairs), model=fresh_model())
    assert not (tmp_path / "run").exists()
    allowed = configure(pairs={**pairs, "max_bad_share": 0.5}, cache_dir=None)
    train(allowed, model=fresh_model())
    assert [line["step"] for line in read_log()] == [1, 2, 3]
