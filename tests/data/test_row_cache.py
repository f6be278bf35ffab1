import json

import numpy as np
import pytest

from clipn.data import row_cache
from clipn.data.row_cache import cached_rows
from clipn.errors import DataError

IDENTITY = {"model": "abc"}


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    monkeypatch.setattr(row_cache, "BLOCK_ROWS", 4)


class Maker:
    """Makes rows and remembers which; stops at `breaks_at`."""

    def __init__(self, breaks_at=None):
        self.blocks = []
        self.breaks_at = breaks_at

    def __call__(self, block):
        if block.start == self.breaks_at:
            raise KeyboardInterrupt
        self.blocks.append(block)
        rows = np.array([[row, 2 * row] for row in block], dtype=np.float32)
        reasons = {row: f"row {row} is odd" for row in block if row == 5}
        for row in reasons:
            rows[row - block.start] = np.nan
        return rows, reasons


def make(folder, maker, **options):
    return cached_rows(
        folder, **{"num_rows": 10, "identity": IDENTITY, "make_block": maker, **options}
    )


def test_rows_are_made_block_by_block_and_read_back_without_being_made(tmp_path):
    first, second = Maker(), Maker()
    rows, reasons = make(tmp_path / "c", first)
    again, reasons_again = make(tmp_path / "c", second)
    assert first.blocks == [range(0, 4), range(4, 8), range(8, 10)]
    assert second.blocks == []
    np.testing.assert_array_equal(rows, again)
    assert rows[9].tolist() == [9, 18]
    assert np.isnan(rows[5]).all()
    assert reasons == reasons_again == {5: "row 5 is odd"}


def test_an_interrupted_build_goes_on_where_it_stopped(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        make(tmp_path, Maker(breaks_at=8))
    maker = Maker()
    rows, _ = make(tmp_path, maker)
    assert maker.blocks == [range(8, 10)]
    assert rows[1].tolist() == [1, 2]


def test_nothing_but_rows_and_manifest_is_left(tmp_path):
    make(tmp_path, Maker())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["manifest.json", "rows.npy"]


@pytest.mark.parametrize("is_finished", [True, False])
def test_a_cache_of_something_else_is_refused(tmp_path, is_finished):
    if is_finished:
        make(tmp_path, Maker())
    else:
        with pytest.raises(KeyboardInterrupt):
            make(tmp_path, Maker(breaks_at=4))
    with pytest.raises(DataError, match="model 'abc' instead of 'xyz'"):
        make(tmp_path, Maker(), identity={"model": "xyz"})


def test_another_number_of_rows_is_refused(tmp_path):
    make(tmp_path, Maker())
    with pytest.raises(DataError, match="num_rows 10 instead of 9"):
        make(tmp_path, Maker(), num_rows=9)


def test_a_damaged_block_is_named(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        make(tmp_path, Maker(breaks_at=4))
    block = next(tmp_path.glob("block-*.npz"))
    block.write_bytes(b"not an archive")
    with pytest.raises(DataError, match=block.name):
        make(tmp_path, Maker())


def test_damaged_rows_are_named(tmp_path):
    make(tmp_path, Maker())
    (tmp_path / "rows.npy").write_bytes(b"")
    with pytest.raises(DataError, match=r"rows\.npy cannot be read"):
        make(tmp_path, Maker())


def test_progress_is_told_after_each_block(tmp_path):
    seen = []
    make(tmp_path, Maker(), on_rows=lambda done, total: seen.append((done, total)))
    assert seen == [(4, 10), (8, 10), (10, 10)]


def test_the_manifest_says_what_the_rows_depend_on(tmp_path):
    make(tmp_path, Maker())
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["model"] == "abc"
    assert manifest["num_rows"] == 10


def test_what_cannot_be_written_is_named_and_the_finished_blocks_stay(tmp_path, limit_file_size):
    many = {"num_rows": 200}
    with limit_file_size(1500), pytest.raises(OSError, match=r"File too large: .*rows\.npy"):
        make(tmp_path, Maker(), **many)
    assert not (tmp_path / "rows.npy").exists()
    maker = Maker()
    rows, _ = make(tmp_path, maker, **many)
    assert maker.blocks == []
    np.testing.assert_array_equal(rows[6:, 0], np.arange(6, 200))


def test_no_rows_are_refused(tmp_path):
    with pytest.raises(DataError, match="There are no rows to keep in"):
        make(tmp_path / "c", Maker(), num_rows=0)
    assert not (tmp_path / "c").exists()
