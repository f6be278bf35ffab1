import os
import shutil
from pathlib import Path

import fsspec
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipn.batch import BatchOptions, find_input
from clipn.batch.plan import cut_input
from clipn.errors import DataError


def test_what_lies_there_says_what_it_is(folder: Path, tars: Path, tables: Path):
    assert find_input(folder).kind == "images"
    assert find_input(folder / "a/00.png").names == ("00.png",)
    assert find_input(tars).names == ("0.tar", "1.tar.gz")
    assert find_input(f"{tables}/*.parquet").names == ("0.parquet", "1.parquet")
    assert find_input(tables).kind == "parquet"


def test_a_folder_of_several_kinds_is_read_as_the_one_that_is_asked_for(folder: Path, tars: Path):
    shutil.copy(tars / "0.tar", folder)
    assert find_input(folder).kind == "tars"
    assert len(find_input(folder, "images").names) == 20


def test_names_start_below_what_all_files_share(folder: Path):
    assert find_input(f"{folder}/*/0*.png").names[0] == "a/00.png"
    assert find_input(f"{folder}/b/0*.png").names[0] == "01.png"


def test_linked_folders_are_entered_and_hidden_ones_are_not(tmp_path: Path, folder: Path):
    (folder / "link").symlink_to(folder / "a")
    (folder / ".hidden").mkdir()
    shutil.copy(folder / "a/00.png", folder / ".hidden")
    names = find_input(folder).names
    assert not any(".hidden" in name for name in names)


def test_files_elsewhere_are_found_like_those_here(folder: Path):
    memory = fsspec.filesystem("memory")
    memory.put(f"{folder}/", "/found", recursive=True)
    memory.pipe_file("/found/.hidden/00.png", b"x")
    assert find_input("memory://found").names == find_input(folder).names
    assert find_input("memory://found/a/*.png").names == find_input(f"{folder}/a/*.png").names
    memory.rm("/found", recursive=True)


def test_a_change_of_a_file_is_seen(folder: Path):
    before = find_input(folder).fingerprint
    assert find_input(folder).fingerprint == before
    os.utime(folder / "a/00.png", (1, 1))
    assert find_input(folder).fingerprint != before


@pytest.mark.parametrize("address", ["gone", "gone/*.tar", "memory://gone"])
def test_nothing_is_an_error(address: str):
    with pytest.raises(DataError, match="gone"):
        find_input(address)


def test_addresses_of_unknown_kinds_are_refused():
    with pytest.raises(DataError, match="'tape://1' cannot be opened"):
        find_input("tape://1")


def test_a_folder_without_a_plan_holds_no_embeddings(folder: Path):
    with pytest.raises(DataError, match="no output folder of clipn batch"):
        find_input(folder, "embeddings")


@pytest.mark.parametrize("rows", [1, 4, 5, 8, 100])
def test_partitions_of_tables_hold_every_row_once(tables: Path, rows: int):
    parts = cut_input(find_input(tables), BatchOptions(rows_per_partition=rows))
    for name, num_rows in (("0.parquet", 13), ("1.parquet", 7)):
        own = [part for part in parts if part.file == name]
        starts = [part.first_row for part in own]
        ends = [part.first_row + part.num_images for part in own]
        assert starts == [0, *ends[:-1]]
        assert ends[-1] == num_rows
        assert own[-1].stop == pq.ParquetFile(tables / name).num_row_groups


@given(rows=st.integers(1, 30))
def test_partitions_of_images_hold_every_image_once(tmp_path_factory, rows: int):
    root = tmp_path_factory.mktemp("images")
    for number in range(10):
        (root / f"{number}.png").touch()
    parts = cut_input(find_input(root), BatchOptions(rows_per_partition=rows))
    held = [row for p in parts for row in range(p.first_row, p.first_row + p.num_images)]
    assert held == list(range(10))


def test_a_table_without_the_column_is_refused(tables: Path):
    with pytest.raises(DataError, match=r"0.parquet' has no column 'jpg'; it has image, key"):
        cut_input(find_input(tables), BatchOptions(image_column="jpg"))


def test_a_file_that_is_no_table_is_refused(tmp_path: Path):
    (tmp_path / "x.parquet").write_bytes(b"no table")
    with pytest.raises(DataError, match=r"x.parquet' cannot be read as Parquet"):
        cut_input(find_input(tmp_path), BatchOptions())
