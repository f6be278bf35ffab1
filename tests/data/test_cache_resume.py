"""Builds that are interrupted, at every place where that may happen."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

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


def test_a_part_that_cannot_be_written_is_named_and_leaves_nothing(
    build, shards, limit_file_size, tmp_path, assert_same_as_uninterrupted
):
    with limit_file_size(1000), pytest.raises(OSError, match=r"File too large: .*000000\.npz"):
        build(shards)
    assert files_in(tmp_path / "cache") == ["building.json"]
    build(shards)
    assert_same_as_uninterrupted()


def test_a_merge_that_cannot_be_written_keeps_all_parts(
    build, open_csv_pairs, limit_file_size, counting, plain_model, tmp_path
):
    shards = open_csv_pairs([f"a photo of thing number {i}" for i in range(90)])
    with limit_file_size(6000), pytest.raises(OSError, match=r"File too large: .*image\.npy"):
        build(shards)
    assert "image.npy" not in files_in(tmp_path / "cache")
    assert len(files_in(tmp_path / "cache" / "parts")) == 2 * len(shards) == 60
    encoder = counting(plain_model)
    assert len(build(shards, encoder=encoder)) == 90
    assert encoder.num_images == 0


# Run in a name space of its own, where anybody may mount a small disk.
BUILD_TWICE = """
import subprocess, sys
from pathlib import Path

cache, given = map(Path, sys.argv[1:])
if subprocess.call(["mount", "-t", "tmpfs", "-o", "size=24k", "none", cache]):
    sys.exit(77)
from clipn.data.cache_build import BuildSettings, build_cache
from clipn.data.pairs import open_pairs
from clipn.model import load_model

model = load_model(given / "model")
shards = open_pairs(given / "pairs.csv", rows_per_shard=3)
settings = BuildSettings(transform=model.preprocess, dtype="float32", num_workers=1)
try:
    build_cache(shards, model, cache, settings)
except OSError as error:
    print(error)
subprocess.check_call(["mount", "-o", "remount,size=10m", cache])
print(*sorted(path.name for path in cache.glob("parts/*")))
print(len(build_cache(shards, model, cache, settings)))
"""


@pytest.mark.skipif(shutil.which("unshare") is None, reason="unshare is absent")
def test_a_disk_that_is_full_keeps_what_was_finished_until_there_is_room(
    open_csv_pairs, plain_model, tmp_path
):
    open_csv_pairs([f"a photo of thing number {i}" for i in range(40)])
    plain_model.save(tmp_path / "model")
    (tmp_path / "disk").mkdir()
    name_space = ["unshare", "--user", "--map-root-user", "--mount"]
    program = [sys.executable, "-c", BUILD_TWICE, str(tmp_path / "disk"), str(tmp_path)]
    done = subprocess.run(
        [*name_space, *program], capture_output=True, text=True, timeout=120, check=False
    )
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip(f"no disk can be mounted here: {done.stderr}")
    assert done.returncode == 0, done.stderr
    error, kept, num_pairs = done.stdout.splitlines()
    assert re.fullmatch(r".*No space left on device: .*/parts/00000\d\.\w+'", error)
    assert kept.startswith("000000.json 000000.npz 000001.json 000001.npz")
    assert num_pairs == "40"


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
        with pytest.raises(DataError, match=r"000001\.npz cannot be read .* Delete .*000001\.json"):
            build(shards)
    note.unlink()
    build(shards)
    assert_same_as_uninterrupted()
