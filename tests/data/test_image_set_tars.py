"""Tars of webdataset and of image trees, read at their offsets."""

import gzip
import io
import tarfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from clipn.data.image_sets import read_tars
from clipn.data.images import read_image
from clipn.errors import DataError

WriteTar = Callable[[Path, dict[str, bytes]], Path]

WEBDATASET = {
    "000.jpg": b"zero", "000.cls": b"4", "000.json": b"{}",
    "001.png": b"one!", "001.cls": b"-1\n", "__stats__.json": b"",
}  # fmt: skip
TREE = {
    "val/dog/1.jpg": b"dog one", "val/cat/2.JPEG": b"cat two", "val/dog/old.v2.png": b"dog old",
    "val/readme.txt": b"text", "val/dog/._1.jpg": b"hidden", ".thumbs/1.jpg": b"hidden",
}  # fmt: skip


def test_a_webdataset_has_its_labels_beside_its_images(write_tar: WriteTar, tmp_path: Path):
    images = read_tars(write_tar(tmp_path / "val.tar", WEBDATASET))
    assert images.name == "val"
    assert images.ids == ("val.tar/000.jpg", "val.tar/001.png")
    assert list(images.images) == [b"zero", b"one!"]
    assert images.labels == (4, -1)
    assert images.label_names == ()


def test_a_tree_has_its_classes_in_folders(write_tar: WriteTar, tmp_path: Path):
    images = read_tars(write_tar(tmp_path / "val.tar", TREE), name="pets")
    assert images.name == "pets"
    assert images.ids == (
        "val.tar/val/dog/1.jpg",
        "val.tar/val/cat/2.JPEG",
        "val.tar/val/dog/old.v2.png",
    )
    assert list(images.images) == [b"dog one", b"cat two", b"dog old"]
    assert images.labels == (1, 0, 1)
    assert images.label_names == ("cat", "dog")


def test_images_of_a_single_folder_have_no_labels_unless_it_is_said(
    write_tar: WriteTar, tmp_path: Path
):
    path = write_tar(tmp_path / "a.tar", {"images/1.jpg": b"1", "images/2.jpg": b"2"})
    assert read_tars(path).labels is None
    assert read_tars(path, labels="folder").label_names == ("images",)
    assert read_tars(path, labels="folder").labels == (0, 0)
    labelled = write_tar(tmp_path / "b.tar", WEBDATASET)
    assert read_tars(labelled, labels="none").labels is None


def test_several_tars_are_one_set(write_tar: WriteTar, tmp_path: Path):
    (tmp_path / "set").mkdir()
    write_tar(tmp_path / "set" / "1.tar", {"cat/1.jpg": b"1", "owl/1.jpg": b"2"})
    write_tar(tmp_path / "set" / "2.tar", {"dog/1.jpg": b"3"})
    images = read_tars(tmp_path / "set")
    assert list(images.images) == [b"1", b"2", b"3"]
    assert images.label_names == ("cat", "dog", "owl")
    assert images.labels == (0, 2, 1)
    assert images.ids[2] == "2.tar/dog/1.jpg"


def test_real_images_come_out_of_a_tar_whole(shared_dir: Path, tmp_path: Path):
    rows = pq.ParquetFile(shared_dir / "data" / "mnist_test.parquet").read_row_group(0)
    folder = tmp_path / "digits"
    for number, row in enumerate(rows.slice(0, 30).to_pylist()):
        path = folder / row["name"] / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(row["image"]["bytes"])
    with tarfile.open(tmp_path / "digits.tar", "w") as archive:
        archive.add(folder, arcname=".")  # as `tar cf digits.tar -C digits .` does
    images = read_tars(tmp_path / "digits.tar")
    assert len(images) == 30
    for image, label, name in zip(images.images, images.labels, images.ids, strict=True):
        file = folder / name.removeprefix("digits.tar/")
        assert image == file.read_bytes()
        assert images.label_names[label] == file.parent.name
        assert read_image(image).size == (28, 28)


def test_the_last_of_two_members_of_a_name_counts(tmp_path: Path):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for content in (b"old", b"new one"):
            header = tarfile.TarInfo("./1.jpg")
            header.size = len(content)
            archive.addfile(header, io.BytesIO(content))
    assert list(read_tars(tmp_path / "a.tar").images) == [b"new one"]


def test_links_and_folders_are_no_images(tmp_path: Path, write_tar: WriteTar):
    path = write_tar(tmp_path / "a.tar", {"1.jpg": b"1"})
    with tarfile.open(path, "a") as archive:
        for name, kind in (("2.jpg", tarfile.SYMTYPE), ("3.jpg", tarfile.DIRTYPE)):
            header = tarfile.TarInfo(name)
            header.type, header.linkname = kind, "/etc/passwd"
            archive.addfile(header)
    assert read_tars(path).ids == ("a.tar/1.jpg",)


def test_threads_get_the_images_they_ask_for(write_tar: WriteTar, tmp_path: Path):
    contents = {f"{number}.jpg": bytes([number]) * 2000 for number in range(20)}
    images = read_tars(write_tar(tmp_path / "a.tar", contents)).images
    rows = list(range(19, -1, -1)) * 5
    with ThreadPoolExecutor(8) as pool:
        read = list(pool.map(images.__getitem__, rows))
    assert read == [bytes([row]) * 2000 for row in rows]


def test_a_copy_has_the_same_fingerprint_and_other_data_have_not(
    write_tar: WriteTar, tmp_path: Path
):
    (tmp_path / "copy").mkdir()

    def fingerprint(members: dict[str, bytes], file: str = "a.tar", labels: str = "auto") -> str:
        return read_tars(write_tar(tmp_path / file, members), labels=labels).fingerprint

    base = fingerprint(TREE)
    assert fingerprint(TREE, "copy/a.tar") == base
    others = {
        fingerprint(TREE, "b.tar"),
        fingerprint(TREE, labels="none"),
        fingerprint(TREE | {"val/dog/1.jpg": b"dog two"}),
        fingerprint({name.replace("cat", "cow"): data for name, data in TREE.items()}),
        fingerprint(WEBDATASET),
        fingerprint(WEBDATASET | {"000.cls": b"5"}),
    }
    assert len(others | {base}) == 7


@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz"])
def test_a_compressed_tar_is_refused(tmp_path: Path, mode: str):
    path = tmp_path / "a.tar"
    with tarfile.open(path, mode) as archive:
        archive.addfile(tarfile.TarInfo("1.jpg"))
    with pytest.raises(DataError, match=r"a\.tar' is compressed \(\w+\): .*; decompress it first"):
        read_tars(path)


@pytest.mark.parametrize("left", [0, 100, 700, 1024 + 300, 2048])
def test_a_tar_that_is_cut_short_is_refused(write_tar: WriteTar, tmp_path: Path, left: int):
    path = write_tar(tmp_path / "a.tar", {"1.jpg": b"1" * 500, "2.jpg": b"2" * 500})
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(DataError, match=r"a\.tar' (cannot be read as a tar|is damaged or cut)"):
        read_tars(path)


def test_a_garbled_header_is_not_taken_for_the_end(write_tar: WriteTar, tmp_path: Path):
    path = write_tar(tmp_path / "a.tar", {"1.jpg": b"1" * 500, "2.jpg": b"2" * 500})
    content = bytearray(path.read_bytes())
    content[1024:1100] = b"?" * 76  # the second header
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.tar' is damaged or cut short at byte 1024"):
        read_tars(path)


def test_what_is_no_tar_or_holds_no_image_is_named(write_tar: WriteTar, tmp_path: Path):
    with pytest.raises(DataError, match=r"gone\.tar' does not exist"):
        read_tars(tmp_path / "gone.tar")
    (tmp_path / "text.tar").write_text("text" * 300)
    with pytest.raises(DataError, match=r"text\.tar' cannot be read as a tar"):
        read_tars(tmp_path / "text.tar")
    with pytest.raises(DataError, match="The image set empty is empty"):
        read_tars(write_tar(tmp_path / "empty.tar", {"1.txt": b""}))


def test_an_image_without_a_label_among_others_is_named(write_tar: WriteTar, tmp_path: Path):
    path = write_tar(tmp_path / "a.tar", WEBDATASET | {"002.jpg": b"two"})
    with pytest.raises(DataError, match=r"a\.tar/002\.jpg has no label: .*'002\.cls' is missing"):
        read_tars(path)
    with pytest.raises(DataError, match=r"a\.tar/1\.jpg has no label"):
        read_tars(write_tar(path, {"1.jpg": b"1"}), labels="cls")


@pytest.mark.parametrize("text", [b"", b"cat", b"1.5", b"--1", "²".encode()])
def test_a_label_that_is_no_whole_number_is_refused(
    write_tar: WriteTar, tmp_path: Path, text: bytes
):
    path = write_tar(tmp_path / "a.tar", {"1.jpg": b"1", "1.cls": text})
    with pytest.raises(DataError, match=r"a\.tar/1\.cls holds '.*': a label must be a whole"):
        read_tars(path)


def test_a_label_below_minus_one_is_refused(write_tar: WriteTar, tmp_path: Path):
    path = write_tar(tmp_path / "a.tar", {"1.jpg": b"1", "1.cls": b"-3"})
    with pytest.raises(DataError, match=r"a\.tar/1\.jpg .* has the label -3"):
        read_tars(path)


def test_a_tar_that_is_gone_when_it_is_read_is_named(write_tar: WriteTar, tmp_path: Path):
    path = write_tar(tmp_path / "a.tar", {"1.jpg": b"1"})
    images = read_tars(path)
    path.unlink()
    with pytest.raises(DataError, match=r"a\.tar/1\.jpg cannot be read from .*: .*No such file"):
        images.images[0]


def test_gzip_inside_a_tar_is_of_no_concern(write_tar: WriteTar, tmp_path: Path):
    packed = gzip.compress(b"text")
    images = read_tars(write_tar(tmp_path / "a.tar", {"1.jpg": b"1", "1.txt.gz": packed}))
    assert list(images.images) == [b"1"]
