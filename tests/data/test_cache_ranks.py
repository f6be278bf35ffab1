"""Building a cache with two ranks over gloo, in processes of their own: results, errors, ends."""

import csv
import json
from pathlib import Path

import cache_ranks
import numpy as np
import pytest
from ranks import run_ranks

from clipn.data.pairs import open_pairs


def write_pairs(folder: Path, name: str, count: int, *, bad: tuple[int, ...] = ()) -> None:
    rows = [["image", "caption"]]
    for number in range(count):
        image = "bad.jpg" if number in bad else f"images/{number % 8}.jpg"
        rows.append([image, f"a photo of thing number {number}"])
    with (folder / f"{name}.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, _tiny_models, jpeg) -> Path:
    """Where two ranks have built their caches."""
    folder = tmp_path_factory.mktemp("ranks")
    _tiny_models["plain"].save(folder / "model")
    (folder / "images").mkdir()
    for number in range(8):
        (folder / f"images/{number}.jpg").write_bytes(jpeg(number))
    (folder / "bad.jpg").write_bytes(b"bad")
    write_pairs(folder, "pairs", 8)
    write_pairs(folder, "few", 3)
    write_pairs(folder, "bad", 8, bad=(3, 4, 5))
    write_pairs(folder, "many", 90)
    run_ranks(cache_ranks.main, folder, num_ranks=2)
    return folder


@pytest.fixture
def outcomes(folder):
    """How a build ended on each rank."""

    def read(name: str) -> list:
        return [json.loads((folder / f"rank-{rank}.json").read_text()).get(name) for rank in (0, 1)]

    return read


def test_uneven_shards_give_the_cache_of_one_process(folder, outcomes, build, arrays_of):
    assert outcomes("uneven") == [[8], [8]]
    build(open_pairs(folder / "pairs.csv", rows_per_shard=3))
    for name, array in arrays_of().items():
        np.testing.assert_array_equal(np.load(folder / f"uneven/{name}.npy"), array)


def test_a_rank_without_a_shard_waits_for_the_others(outcomes):
    assert outcomes("one shard") == [[3], [3]]


def test_too_many_bad_pairs_on_one_rank_are_too_many_for_all(outcomes):
    first, second = outcomes("bad pairs")
    assert first == second
    assert first[0] == "DataError"
    assert first[1].startswith("3 of 8 pairs cannot be used, more than the allowed share of 5.0%.")


def test_a_failing_tower_ends_all_ranks_with_its_error(outcomes):
    first, second = outcomes("tower")
    assert first == ["RankError", "Ended because another rank failed. Rank 1: out of memory"]
    assert second == ["RuntimeError", "out of memory"]


def test_ranks_that_disagree_about_the_cache_all_end(outcomes):
    first, second = outcomes("other settings")
    assert second[0] == "DataError"
    assert "dtype 'float32' instead of 'float16'" in second[1]
    assert first[0] == "RankError"
    assert second[1] in first[1]


def test_a_full_disk_of_one_rank_ends_all_and_the_build_goes_on_with_room(folder, outcomes):
    first, second = outcomes("full disk")
    assert second[0] == "OSError"
    assert "File too large: " in second[1]
    assert "parts/000001.npz" in second[1]
    assert first == ["RankError", f"Ended because another rank failed. Rank 1: {second[1]}"]
    assert outcomes("room again") == [[8], [8]]
    for path in (folder / "uneven").glob("*.npy"):
        np.testing.assert_array_equal(np.load(folder / "disk" / path.name), np.load(path))


def test_a_full_disk_while_parts_are_put_together_ends_all_and_keeps_the_parts(outcomes):
    first, second = outcomes("full in the merge")
    assert first[0] == "OSError"
    assert "image.npy" in first[1]
    assert second == ["RankError", f"Ended because another rank failed. Rank 0: {first[1]}"]
    assert outcomes("merged at last") == [[90], [90]]


def test_a_rank_that_is_gone_ends_the_others(outcomes):
    first, second = outcomes("gone")
    assert first[0] == "RankError"
    assert first[1].startswith("Another rank has gone, so rank 0 ends too: ")
    assert second is None
