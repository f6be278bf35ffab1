"""How many pairs there are, and which files are not whole, without reading the images."""

import io
import json
import tarfile

import pandas as pd
import pytest

from clipn.data.pairs import open_pairs
from clipn.training.dry_run.counting import count_pairs


@pytest.fixture
def tars(tmp_path):
    """Three tars of 2, 4 and 6 pairs, as img2dataset writes them."""
    for number in range(3):
        num_pairs = 2 * number + 2
        with tarfile.open(tmp_path / f"{number:05d}.tar", "w") as archive:
            for pair in range(num_pairs):
                for suffix, content in (("jpg", b"0" * 1000), ("txt", b"a dog")):
                    header = tarfile.TarInfo(f"{number:05d}{pair:04d}.{suffix}")
                    header.size = len(content)
                    archive.addfile(header, io.BytesIO(content))
        statistics = {"count": 9, "successes": num_pairs, "status_dict": {}}
        (tmp_path / f"{number:05d}_stats.json").write_text(json.dumps(statistics))
    return tmp_path


def count(folder, opened=()):
    return count_pairs(open_pairs(folder), opened=opened)


def test_statistics_and_headers_agree(tars):
    assert count(tars).num_pairs == count(tars, opened=(0, 1, 2)).num_pairs == 12
    assert count(tars).sources == {"statistics": 3}
    assert count(tars, opened=(1,)).sources == {"statistics": 2, "headers": 1}


def test_statistics_that_do_not_fit_are_a_doubt_and_the_headers_count(tars):
    (tars / "00001_stats.json").write_text('{"successes": 5}')
    found = count(tars, opened=(1,))
    assert found.num_pairs == 12
    assert found.doubts == ("00001.tar holds 4 images; its statistics say 5.",)


@pytest.mark.parametrize("content", ["", "[]", '{"successes": "many"}', "{"])
def test_statistics_that_cannot_be_read_say_nothing(tars, content):
    (tars / "00001_stats.json").write_text(content)
    assert count(tars, opened=(1,)).num_pairs == 12


def test_tars_without_statistics_are_estimated_from_those_that_were_opened(tars):
    for path in tars.glob("*.json"):
        path.unlink()
    found = count(tars, opened=(2,))
    assert found.sources == {"headers": 1, "size": 2}
    assert found.num_pairs == pytest.approx(12, abs=4)
    assert not found.doubts


def test_tars_that_lack_what_others_have_may_not_be_finished(tars):
    (tars / "00002_stats.json").unlink()
    assert count(tars, opened=(2,)).doubts == (
        "1 of 3 tars lack img2dataset's statistics, the first 00002.tar: their download may not be "
        "finished.",
    )


@pytest.mark.parametrize(
    ("size", "reason"), [(0, "the file is empty"), (4096, "it lacks the mark at the end")]
)
def test_a_tar_that_was_cut_is_broken_though_nobody_read_it(tars, size, reason):
    with (tars / "00001.tar").open("r+b") as file:
        file.truncate(size)
    found = count(tars)
    assert found.num_pairs == 8
    assert found.num_shards == 3
    assert len(found.broken) == 1
    assert found.broken[0].startswith(f"00001.tar: {reason}")


def test_a_table_knows_its_rows(tmp_path):
    pd.DataFrame({"image": [b"1"] * 7, "caption": ["a"] * 7}).to_parquet(tmp_path / "a.parquet")
    (tmp_path / "b.parquet").write_bytes(b"no table")
    found = count(tmp_path)
    assert (found.num_pairs, found.sources) == (7, {"rows": 1})
    assert found.broken[0].startswith("b.parquet: ")
