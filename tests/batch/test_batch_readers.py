import io
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clipn.batch import BatchOptions, find_input
from clipn.batch.inputs import InputFiles
from clipn.batch.plan import cut_input
from clipn.batch.readers import ImageReader
from clipn.batch.store import Store
from clipn.errors import DataError


def read_all(files: InputFiles, options: BatchOptions, tmp_path: Path) -> list[tuple[str, object]]:
    reader = ImageReader(files.kind, files.address, Store.open(tmp_path / "out"), options)
    return [image for part in cut_input(files, options) for image in reader.read(part)]


def test_a_tar_that_is_cut_short_ends_in_an_image_that_says_so(
    tmp_path: Path, tars: Path, pictures: dict[str, bytes]
):
    whole = (tars / "0.tar").read_bytes()
    (tars / "0.tar").write_bytes(whole[: len(whole) // 2])
    found = read_all(find_input(tars / "0.tar"), BatchOptions(), tmp_path)
    assert 2 <= len(found) < 11
    assert [name for name, _ in found[:-1]] == [f"0.tar/{name}" for name in pictures][
        : len(found) - 1
    ]
    name, refuse = found[-1]
    assert name == "0.tar"
    with pytest.raises(DataError, match=r"0.tar is damaged or cut short"):
        refuse()


def test_a_tar_that_has_changed_since_the_plan_is_refused(tmp_path: Path, tars: Path):
    files, options = find_input(tars / "0.tar"), BatchOptions()
    [part] = cut_input(files, options)
    with tarfile.open(tars / "0.tar", "a") as archive:
        header = tarfile.TarInfo("more.png")
        header.size = 20_000
        archive.addfile(header, io.BytesIO(bytes(20_000)))
    reader = ImageReader("tars", files.address, Store.open(tmp_path / "out"), options)
    with pytest.raises(DataError, match="it has changed since the run was planned"):
        list(reader.read(part))


def test_rows_behind_the_damage_of_a_table_say_so(tmp_path: Path, tables: Path):
    pq.write_table(
        pa.table({"image": [bytes([number]) * 5000 for number in range(8)]}),
        tmp_path / "table.parquet",
        row_group_size=2,
        compression="snappy",
        use_dictionary=False,
    )
    options = BatchOptions(rows_per_partition=8)
    files = find_input(tmp_path / "table.parquet")
    with pq.ParquetFile(tmp_path / "table.parquet") as file:
        place = file.metadata.row_group(2).column(0).data_page_offset
    with (tmp_path / "table.parquet").open("r+b") as stream:
        stream.seek(place)
        stream.write(bytes([255]) * 40)
    found = read_all(files, options, tmp_path)
    assert [name for name, _ in found] == [f"table.parquet:{row}" for row in range(8)]
    assert [image for _, image in found[:4]] == [bytes([row]) * 5000 for row in range(4)]
    for _, refuse in found[4:]:
        with pytest.raises(DataError, match=r"table.parquet is damaged"):
            refuse()
