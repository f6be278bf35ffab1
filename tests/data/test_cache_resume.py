"""Builds that are interrupted, at every place where that may happen, and builds over two ranks."""

from pathlib import Path

import numpy as np
import pytest

from clipn import distributed
from clipn.data import cache_build, cache_merge
from clipn.data.embedding_cache import EmbeddingCache
from clipn.errors import DataError

CAPTIONS = [f"a photo of thing number {i % 5}" for i in range(8)]


class PowerCutError(Exception):
    """Stands for a process that ends here."""


def cut_power(*args, **kwargs):
    raise PowerCutError


def files_in(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*"))


@pytest.fixture
def shards(open_csv_pairs):
    """Three shards of 3, 3 and 2 pairs."""
    return open_csv_pairs(CAPTIONS)


@pytest.fixture
def assert_same_as_uninterrupted(build, shards, arrays_of):
    def check(**settings):
        build(shards, folder="uninterrupted", **settings)
        resumed, expected = arrays_of("cache"), arrays_of("uninterrupted")
        assert resumed.keys() == expected.keys()
        for name, array in expected.items():
            np.testing.assert_array_equal(resumed[name], array)

    return check


@pytest.mark.parametrize("num_views", [1, 2])
def test_a_build_that_broke_in_a_shard_embeds_no_finished_shard_again(
    num_views, build, shards, counting, plain_model, tmp_path, assert_same_as_uninterrupted
):
    views = {"num_views": num_views}
    first, second = counting(plain_model, break_after=4 * num_views), counting(plain_model)
    with pytest.raises(InterruptedError):
        build(shards, encoder=first, batch_size=1, **views)
    assert files_in(tmp_path / "cache") == [
        "building.json",
        "parts/000000.json",
        "parts/000000.npz",
    ]
    with pytest.raises(DataError, match=r"manifest\.json cannot be read"):
        EmbeddingCache(tmp_path / "cache")
    build(shards, encoder=second, batch_size=1, **views)
    assert second.num_images == (8 - 3) * num_views
    assert not (tmp_path / "cache" / "parts").exists()
    assert_same_as_uninterrupted(batch_size=1, **views)


def test_a_build_that_broke_before_the_merge_embeds_nothing_again(
    build, shards, counting, plain_model, monkeypatch, assert_same_as_uninterrupted
):
    with monkeypatch.context() as patch:
        patch.setattr(cache_build, "merge_parts", cut_power)
        with pytest.raises(PowerCutError):
            build(shards)
    encoder = counting(plain_model)
    build(shards, encoder=encoder)
    assert encoder.num_images == encoder.num_texts == 0
    assert_same_as_uninterrupted()


def test_a_build_that_broke_within_the_merge_merges_again(
    build, shards, counting, plain_model, monkeypatch, tmp_path, assert_same_as_uninterrupted
):
    merge_array = cache_merge._merge_array

    def cut_power_at_the_tokens(folder, name, *args):
        return cut_power() if name == "tokens" else merge_array(folder, name, *args)

    with monkeypatch.context() as patch:
        patch.setattr(cache_merge, "_merge_array", cut_power_at_the_tokens)
        with pytest.raises(PowerCutError):
            build(shards)
    assert (tmp_path / "cache" / "image.npy").exists()
    encoder = counting(plain_model)
    build(shards, encoder=encoder)
    assert encoder.num_images == 0
    assert_same_as_uninterrupted()


def test_parts_that_outlived_the_merge_are_dropped_when_the_cache_is_opened(
    build, shards, monkeypatch, tmp_path, assert_same_as_uninterrupted
):
    with monkeypatch.context() as patch:
        patch.setattr(cache_merge, "drop_parts", cut_power)
        with pytest.raises(PowerCutError):
            build(shards)
    assert (tmp_path / "cache" / "parts" / "000002.npz").exists()
    build(shards)
    assert not any("parts" in name or "building" in name for name in files_in(tmp_path / "cache"))
    assert_same_as_uninterrupted()


def test_a_full_disk_leaves_no_half_written_part(
    build, shards, monkeypatch, tmp_path, assert_same_as_uninterrupted
):
    def write_half(file, **arrays):
        file.write(b"PK half of an archive")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(np, "savez", write_half)
        with pytest.raises(OSError, match="No space left"):
            build(shards)
    assert files_in(tmp_path / "cache") == ["building.json"]
    build(shards)
    assert_same_as_uninterrupted()


def test_a_damaged_part_says_how_to_mend_it(
    build, shards, monkeypatch, tmp_path, assert_same_as_uninterrupted
):
    with monkeypatch.context() as patch:
        patch.setattr(cache_build, "merge_parts", cut_power)
        with pytest.raises(PowerCutError):
            build(shards)
    part, note = (tmp_path / "cache" / "parts" / f"000001{suffix}" for suffix in (".npz", ".json"))
    for content in (part.read_bytes()[:-200], b"", b"nonsense"):
        part.write_bytes(content)
        with pytest.raises(DataError, match=r"000001\.npz cannot be read .* delete .*000001\.json"):
            build(shards)
    note.unlink()
    build(shards)
    assert_same_as_uninterrupted()


# Two ranks, one after the other: the second reaches its first barrier, then the first does all.


@pytest.fixture
def be_rank(monkeypatch):
    def be(rank, *, waits):
        monkeypatch.setattr(distributed, "rank", lambda: rank)
        monkeypatch.setattr(distributed, "world_size", lambda: 2)
        monkeypatch.setattr(distributed, "wait_for_all", waits)

    return be


def test_two_ranks_embed_each_shard_once_and_the_first_puts_them_together(
    build, shards, counting, plain_model, tmp_path, be_rank, monkeypatch,
    assert_same_as_uninterrupted,
):  # fmt: skip
    first, second = counting(plain_model), counting(plain_model)
    be_rank(1, waits=cut_power)
    with pytest.raises(PowerCutError):
        build(shards, encoder=second)
    assert second.num_images == 3
    assert files_in(tmp_path / "cache" / "parts") == ["000001.json", "000001.npz"]
    be_rank(0, waits=lambda: None)
    cache = build(shards, encoder=first)
    assert first.num_images == 5
    assert len(cache) == 8
    monkeypatch.undo()
    assert_same_as_uninterrupted()


def test_a_rank_does_not_take_its_own_shards_for_all(
    build, open_csv_pairs, counting, plain_model, be_rank
):
    # Both bad pairs are in the shard of the second rank: 2 of 3 there, 2 of 8 in all.
    shards = open_csv_pairs(CAPTIONS, images={3: b"bad", 4: b"bad"})
    be_rank(1, waits=cut_power)
    with pytest.raises(PowerCutError):
        build(shards, encoder=counting(plain_model), max_bad_share=0.3)
    be_rank(0, waits=lambda: None)
    cache = build(shards, encoder=counting(plain_model), max_bad_share=0.3)
    assert (len(cache), cache.manifest["num_bad"]) == (6, 2)


def test_the_share_of_bad_pairs_is_that_of_all_ranks(
    build, open_csv_pairs, counting, plain_model, be_rank
):
    shards = open_csv_pairs(CAPTIONS, images={3: b"bad", 4: b"bad"})
    be_rank(1, waits=cut_power)
    with pytest.raises(PowerCutError):
        build(shards, encoder=counting(plain_model), max_bad_share=0.2)
    be_rank(0, waits=lambda: None)
    with pytest.raises(DataError, match="2 of 8 pairs cannot be used"):
        build(shards, encoder=counting(plain_model), max_bad_share=0.2)
