"""Arrays that are written part by part."""

import numpy as np
import pytest

from clipn.data.array_file import write_array


@pytest.mark.parametrize("dtype", ["float16", "float32", "int64", "uint16"])
def test_parts_are_read_back_as_one_array(tmp_path, dtype):
    values = np.arange(60).reshape(5, 4, 3).astype(dtype)
    with write_array(tmp_path / "a.npy", shape=values.shape, dtype=values.dtype) as append:
        for rows in (slice(0, 2), slice(2, 2), slice(2, 5)):
            append(values[rows])
    for read in (np.load(tmp_path / "a.npy"), np.load(tmp_path / "a.npy", mmap_mode="r")):
        assert read.dtype == values.dtype
        np.testing.assert_array_equal(read, values)


def test_narrower_parts_are_filled_up_with_zeros(tmp_path):
    with write_array(tmp_path / "a.npy", shape=(3, 4), dtype=np.dtype("int32")) as append:
        append(np.ones((2, 2)))
        append(np.full((1, 4), 7))
    expected = [[1, 1, 0, 0], [1, 1, 0, 0], [7, 7, 7, 7]]
    assert np.load(tmp_path / "a.npy").tolist() == expected


def test_a_failure_leaves_nothing(tmp_path, limit_file_size):
    def write() -> None:
        with write_array(tmp_path / "a.npy", shape=(900,), dtype=np.dtype("int64")) as append:
            append(np.zeros(900))

    with limit_file_size(1000), pytest.raises(OSError, match=r"File too large: .*/a\.npy"):
        write()
    assert list(tmp_path.iterdir()) == []
