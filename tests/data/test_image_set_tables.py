"""Parquet files: the real ones beside the checkout, and small ones of every layout."""

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clipn.data.image_set import ImageSet
from clipn.data.image_sets import read_parquet
from clipn.data.images import read_image
from clipn.errors import DataError

BYTES = [b"image 0", b"image 1", b"image 2", b"image 3", b"image 4", b"image 5"]
ROWS = {
    "image": [{"bytes": content, "path": None} for content in BYTES],
    "label": [1, 0, 1, 2, None, 0],
    "name": ["dog", "cat", "dog", "owl", None, "cat"],
    "domain": ["photo", "photo", "sketch", "sketch", "photo", "sketch"],
}


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write a file of the rows above, with changed or dropped columns, in groups of two rows."""

    def write_file(file: str = "pets.parquet", **columns: list | pa.Array | None) -> Path:
        path = tmp_path / file
        path.parent.mkdir(exist_ok=True)
        kept = {name: values for name, values in {**ROWS, **columns}.items() if values is not None}
        pq.write_table(pa.table(kept), path, row_group_size=2)
        return path

    return write_file


def test_the_real_images_are_read_as_they_are(shared_dir: Path):
    path = shared_dir / "data" / "textures10.parquet"
    images = read_parquet(path)
    table = pq.read_table(path)
    assert images.name == "textures10"
    assert len(images) == 1200
    assert images.labels == tuple(table["label"].to_pylist())
    assert images.ids[1199] == "textures10.parquet:1199"
    for row in (0, 611, 1199):
        assert images.images[row] == table["image"][row].as_py()["bytes"]
        assert images.label_names[images.labels[row]] == table["name"][row].as_py()
        assert read_image(images.images[row]).size == (64, 64)


def test_one_domain_of_the_real_images_keeps_the_numbers_of_all_classes(shared_dir: Path):
    path = shared_dir / "data" / "pacs.parquet"
    table = pq.read_table(path, columns=["label", "domain"]).to_pydict()
    sketches = read_parquet(path, where={"domain": "sketch"})
    rows = [row for row, domain in enumerate(table["domain"]) if domain == "sketch"]
    assert sketches.ids == tuple(f"pacs.parquet:{row}" for row in rows)
    assert sketches.labels == tuple(table["label"][row] for row in rows)
    assert sketches.label_names == read_parquet(path).label_names
    assert sketches.label_names == (
        "dog", "elephant", "giraffe", "guitar", "horse", "house", "person",
    )  # fmt: skip
    unknown = sketches.only_classes([6])
    assert set(unknown.labels) == {6}
    assert read_image(unknown.images[0]).size == (64, 64)


def test_labels_and_names_come_from_columns(write: Callable[..., Path]):
    images = read_parquet(write())
    assert images.labels == (1, 0, 1, 2, -1, 0)
    assert images.label_names == ("cat", "dog", "owl")
    assert list(images.images) == BYTES
    assert images.ids == tuple(f"pets.parquet:{row}" for row in range(6))


def test_names_of_class_labels_come_from_the_metadata(tmp_path: Path):
    features = datasets.Features(
        image=datasets.Image(), label=datasets.ClassLabel(names=["cow", "dog", "owl"])
    )
    rows = datasets.Dataset.from_dict({key: ROWS[key] for key in features}, features=features)
    rows.to_parquet(tmp_path / "pets.parquet")
    images = read_parquet(tmp_path / "pets.parquet")
    assert images.label_names == ("cow", "dog", "owl")
    assert images.labels == (1, 0, 1, 2, -1, 0)
    assert images.images[3] == BYTES[3]


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary()])
def test_images_may_be_plain_bytes(write: Callable[..., Path], kind: pa.DataType):
    assert list(read_parquet(write(image=pa.array(BYTES, kind))).images) == BYTES


def test_images_may_be_paths_from_the_folder_of_their_file(write: Callable[..., Path]):
    names = [f"jpg/{number}.jpg" for number in range(6)]
    path = write(image=names)
    expected = [path.parent / name for name in names]
    assert list(read_parquet(path).images) == expected
    path = write(image=[{"bytes": None, "path": name} for name in names])
    assert list(read_parquet(path).images) == expected


@pytest.mark.parametrize("nothing", [None, {"bytes": None, "path": None}])
def test_a_row_without_an_image_is_refused_when_it_is_read(
    write: Callable[..., Path], nothing: dict | None
):
    images = read_parquet(write(image=[*ROWS["image"][:5], nothing]))
    with pytest.raises(DataError, match="cannot be read as an image: it is empty"):
        read_image(images.images[5])


def test_the_path_of_a_struct_may_be_absent(write: Callable[..., Path]):
    only_bytes = [{"bytes": content} for content in BYTES]
    assert read_parquet(write(image=only_bytes)).images[2] == BYTES[2]


def test_columns_may_have_other_names(write: Callable[..., Path]):
    path = write(image=None, label=None, name=None, picture=BYTES, number=[0] * 6, word=["x"] * 6)
    options = {"image_column": "picture", "label_column": "number", "name_column": "word"}
    images = read_parquet(path, name="other", **options)
    assert (images.name, images.labels, images.label_names) == ("other", (0,) * 6, ("x",))
    unlabelled = read_parquet(path, image_column="picture", label_column=None)
    assert (unlabelled.labels, unlabelled.label_names) == (None, ())


def test_names_may_be_absent_or_left_aside(write: Callable[..., Path]):
    assert read_parquet(write(name=None)).label_names == ()
    assert read_parquet(write(), name_column=None).label_names == ()


def test_a_class_without_a_row_has_no_name(write: Callable[..., Path]):
    images = read_parquet(write(label=[4, 1, 4, 2, None, 1]))
    assert images.label_names == ("", "cat", "owl", "", "dog")


def test_shards_are_one_set_in_order(write: Callable[..., Path]):
    second, first = write("shards/b.parquet"), write("shards/a.parquet", label=[2] * 6, name=None)
    third = write("more/c.parquet", image=BYTES[::-1])
    images = read_parquet([first.parent, third])
    assert list(images.images) == [*BYTES, *BYTES, *BYTES[::-1]]
    assert images.labels[:6] == (2,) * 6
    assert images.ids[0] == "shards/a.parquet:0"
    assert images.ids[6] == "shards/b.parquet:0"
    assert images.ids[17] == "more/c.parquet:5"
    assert images.label_names == ()  # one file has none
    assert images.name == "a"
    assert list(read_parquet(second).images) == BYTES


@pytest.mark.parametrize(
    ("where", "rows"),
    [
        ({"domain": "photo"}, [0, 1, 4]),
        ({"domain": "sketch", "label": 0}, [5]),
        ({"name": None}, [4]),
        ({}, [0, 1, 2, 3, 4, 5]),
    ],
)
def test_where_keeps_the_rows_with_these_values(
    write: Callable[..., Path], where: dict[str, Any], rows: list[int]
):
    images = read_parquet(write(), where=where)
    assert list(images.images) == [BYTES[row] for row in rows]
    assert images.ids == tuple(f"pets.parquet:{row}" for row in rows)
    assert images.label_names == ("cat", "dog", "owl")


def count_groups(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Note which row groups are read."""
    read: list[int] = []
    really_read = pq.ParquetFile.read_row_group

    def read_row_group(file: pq.ParquetFile, group: int, **options: Any) -> pa.Table:
        read.append(group)
        return really_read(file, group, **options)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", read_row_group)
    return read


def test_a_row_group_is_read_when_its_first_image_is_asked_for(
    write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
):
    groups = count_groups(monkeypatch)
    images = read_parquet(write()).images
    assert groups == []
    assert list(images) == BYTES
    assert groups == [0, 1, 2]
    assert [images[row] for row in (4, 5, 4)] == [BYTES[4], BYTES[5], BYTES[4]]
    assert groups == [0, 1, 2]


def test_groups_without_rows_are_passed_over(tmp_path: Path):
    table = pa.table({"image": BYTES, "label": range(6)})
    with pq.ParquetWriter(tmp_path / "gaps.parquet", table.schema) as writer:
        for part in (table[:0], table[:1], table[:0], table[:0], table[1:], table[:0]):
            writer.write_table(part)
    assert list(read_parquet(tmp_path / "gaps.parquet").images) == BYTES


def test_threads_get_the_images_they_ask_for(write: Callable[..., Path]):
    images = read_parquet([write("a.parquet"), write("b.parquet")]).images
    rows = [5, 0, 11, 6, 2, 9] * 10
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(images.__getitem__, rows)) == [BYTES[row % 6] for row in rows]


def fingerprint(path: Path, **options: Any) -> str:
    return read_parquet(path, **options).fingerprint


def test_a_copy_has_the_same_fingerprint_and_other_data_have_not(write: Callable[..., Path]):
    path = write()
    base = fingerprint(path)
    copy = path.parent / "elsewhere"
    copy.mkdir()
    assert fingerprint(Path(shutil.copy(path, copy)), name="other") == base
    others = [
        fingerprint(path, where={"domain": "photo"}),
        fingerprint(path, where={"domain": "sketch"}),
        fingerprint(path, label_column=None),
        fingerprint(path, name_column="domain", label_column=None, where={"label": 0}),
        fingerprint(Path(shutil.copy(path, copy / "renamed.parquet"))),
        fingerprint(write(image=BYTES[::-1])),
        fingerprint(write(label=[0] * 6, name=["cat"] * 6)),
    ]
    assert len({base, *others}) == 8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_column": "img"}, "no column 'img'; it has image, label, name, domain"),
        ({"label_column": "class"}, "no column 'class'"),
        ({"name_column": "nom"}, "no column 'nom'"),
        ({"where": {"style": "photo"}}, "no column 'style'"),
        ({"image_column": "label"}, "'label' of .* holds int64: images must be structs with bytes"),
        ({"label_column": "domain"}, "'domain' of .* holds string: labels must be whole numbers"),
        (
            {"name_column": "domain"},
            "label 1 .* is called both 'photo' and 'sketch' in .* 'domain'",
        ),
        ({"where": {"domain": "foto"}}, "No row .* has 'foto' in .*; there are 'photo', 'sketch'"),
        ({"where": {"domain": "photo", "label": 2}}, "No row .* has all of"),
    ],
)
def test_columns_that_do_not_fit_are_named(
    write: Callable[..., Path], options: dict[str, Any], message: str
):
    with pytest.raises(DataError, match=message):
        read_parquet(write(), **options)


def test_where_on_an_absent_name_column_is_refused(write: Callable[..., Path]):
    with pytest.raises(DataError, match="no column 'name'; it has image, label, domain"):
        read_parquet(write(name=None), where={"name": "cat"})


def test_a_label_beyond_the_names_is_refused(tmp_path: Path):
    features = datasets.Features(image=datasets.Image(), label=datasets.ClassLabel(names=["cat"]))
    metadata = features.arrow_schema.metadata
    table = pa.table({"image": ROWS["image"], "label": [0, 0, 1, 0, 0, 0]})
    pq.write_table(table.replace_schema_metadata(metadata), tmp_path / "pets.parquet")
    with pytest.raises(DataError, match=r"pets\.parquet:2 .* the label 1: .* 0 to 0"):
        read_parquet(tmp_path / "pets.parquet")


def test_files_that_are_missing_empty_or_no_parquet_are_named(
    write: Callable[..., Path], tmp_path: Path
):
    with pytest.raises(DataError, match=r"gone\.parquet' does not exist"):
        read_parquet(tmp_path / "gone.parquet")
    (tmp_path / "text.parquet").write_text("label,image")
    with pytest.raises(DataError, match=r"text\.parquet' cannot be read as Parquet"):
        read_parquet(tmp_path / "text.parquet")
    pq.write_table(pa.table({"image": pa.array([], pa.binary())}), tmp_path / "none.parquet")
    with pytest.raises(DataError, match="image set none is empty"):
        read_parquet(tmp_path / "none.parquet", label_column=None)


def test_a_file_that_is_gone_when_it_is_read_is_named(write: Callable[..., Path]):
    path = write()
    images: ImageSet = read_parquet(path)
    assert images.images[0] == BYTES[0]
    path.unlink()
    with pytest.raises(DataError, match=r"pets\.parquet' cannot be read as Parquet"):
        images.images[4]
