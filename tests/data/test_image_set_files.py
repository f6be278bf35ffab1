"""Folders and list files, made of a few real images of each class."""

import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from clipn.data.image_files import find_images
from clipn.data.image_sets import read_folder, read_list_file
from clipn.data.images import read_image
from clipn.errors import DataError

IMAGES_PER_CLASS = 2


@pytest.fixture(scope="module")
def real_tree(shared_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ten classes / a few 32 px images each, as ImageFolder has them."""
    rows = pq.ParquetFile(shared_dir / "data" / "cifar10_test.parquet").read_row_group(0)
    root = tmp_path_factory.mktemp("images") / "test"
    counts: dict[str, int] = {}
    for row in rows.to_pylist():
        number = counts.setdefault(row["name"], 0)
        if number < IMAGES_PER_CLASS:
            counts[row["name"]] += 1
            path = root / row["name"] / f"{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(row["image"]["bytes"])
    assert len(counts) == 10
    return root


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Two classes of files that nobody opens, at several depths."""
    for name in ("dog/1.jpg", "dog/old/2.PNG", "cat/1.jpg", "cat/notes.txt", ".thumbs/1.jpg"):
        path = tmp_path / "pets" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return tmp_path / "pets"


def test_every_folder_of_a_labelled_tree_is_a_class(real_tree: Path):
    images = read_folder(real_tree)
    assert images.name == "test"
    assert len(images) == 10 * IMAGES_PER_CLASS
    assert images.label_names == tuple(sorted(path.name for path in real_tree.iterdir()))
    for path, label, name in zip(images.images, images.labels, images.ids, strict=True):
        assert isinstance(path, Path)
        assert path == real_tree / name
        assert path.parent.name == images.label_names[label]
        assert read_image(path).size == (32, 32)


def test_a_flat_tree_has_no_labels(real_tree: Path):
    images = read_folder(real_tree, layout="flat", name="ood")
    assert images.name == "ood"
    assert images.labels is None
    assert images.label_names == ()
    assert images.images == read_folder(real_tree).images == tuple(find_images([real_tree]))


def test_images_lie_anywhere_below_their_class(tree: Path):
    images = read_folder(tree)
    assert images.ids == ("cat/1.jpg", "dog/1.jpg", "dog/old/2.PNG")
    assert images.labels == (0, 1, 1)
    assert images.label_names == ("cat", "dog")


def test_an_empty_class_keeps_its_number(tree: Path):
    (tree / "cow").mkdir()
    images = read_folder(tree)
    assert images.label_names == ("cat", "cow", "dog")
    assert images.labels == (0, 2, 2)


def test_a_copy_has_the_same_fingerprint_and_a_changed_one_has_not(tree: Path, tmp_path: Path):
    base = read_folder(tree)
    copy = tmp_path / "elsewhere" / "animals"
    shutil.copytree(tree, copy)
    assert read_folder(copy, name="other").fingerprint == base.fingerprint
    fingerprints = {base.fingerprint, read_folder(copy, layout="flat").fingerprint}
    (copy / "dog" / "1.jpg").write_bytes(b"another")
    fingerprints.add(read_folder(copy).fingerprint)
    (copy / "dog" / "1.jpg").rename(copy / "dog" / "3.jpg")
    fingerprints.add(read_folder(copy).fingerprint)
    (copy / "cow").mkdir()
    fingerprints.add(read_folder(copy).fingerprint)
    assert len(fingerprints) == 5


def test_a_file_that_is_no_image_does_not_matter(tree: Path):
    base = read_folder(tree)
    (tree / "cat" / "notes.txt").write_text("longer than before")
    assert read_folder(tree).fingerprint == base.fingerprint


def test_a_folder_that_is_missing_or_empty_is_named(tmp_path: Path):
    with pytest.raises(DataError, match="nowhere' is no folder"):
        read_folder(tmp_path / "nowhere")
    (tmp_path / "a.jpg").touch()
    with pytest.raises(DataError, match=r"a\.jpg' is no folder"):
        read_folder(tmp_path / "a.jpg")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty' holds no image"):
        read_folder(tmp_path / "empty")


def test_an_image_outside_of_any_class_is_refused(tree: Path):
    (tree / "montage.png").touch()
    with pytest.raises(DataError, match=r"holds the image 'montage\.png' outside .* layout='flat'"):
        read_folder(tree)
    assert len(read_folder(tree, layout="flat")) == 4


def test_a_dangling_link_is_left_to_be_reported_when_it_is_read(tree: Path):
    (tree / "cat" / "2.jpg").symlink_to(tree / "gone.jpg")
    images = read_folder(tree)
    assert images.ids[1] == "cat/2.jpg"
    with pytest.raises(DataError, match=r"cat/2\.jpg cannot be read as an image: No such file"):
        read_image(images.images[1])


def write_list(folder: Path, *lines: str) -> Path:
    path = folder / "test_pets.txt"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_a_list_gives_images_in_its_order_with_its_labels(real_tree: Path, tmp_path: Path):
    listed = ["test/ship/1.jpg 8", "test/cat/0.jpg 3", "", "test/frog/0.jpg -1", "  "]
    images = read_list_file(write_list(tmp_path, *listed), real_tree.parent)
    assert images.name == "test_pets"
    assert images.ids == ("test/ship/1.jpg", "test/cat/0.jpg", "test/frog/0.jpg")
    assert images.labels == (8, 3, -1)
    assert images.label_names == ()
    assert images.images[1] == real_tree / "cat" / "0.jpg"
    assert read_image(images.images[2]).size == (32, 32)


@pytest.mark.parametrize("end", ["\n", "\r\n", ""])
def test_paths_may_hold_blanks_and_files_may_come_from_windows(tree: Path, end: str):
    (tree / "dog" / "old").rename(tree / "dog" / "the old ones 7")
    path = tree / "list.txt"
    path.write_bytes(b"\xef\xbb\xbfdog/the old ones 7/2.PNG 1\r\ncat/1.jpg\t0" + end.encode())
    images = read_list_file(path, tree, name="pets", label_names=("cat", "dog"))
    assert images.ids == ("dog/the old ones 7/2.PNG", "cat/1.jpg")
    assert images.labels == (1, 0)
    assert (images.name, images.label_names) == ("pets", ("cat", "dog"))


def test_the_fingerprint_of_a_list_is_that_of_its_lines_and_files(tree: Path, tmp_path: Path):
    shutil.copytree(tree, tmp_path / "copy")

    def fingerprint(root: Path, *lines: str) -> str:
        return read_list_file(write_list(tmp_path, *lines), root).fingerprint

    base = fingerprint(tree, "cat/1.jpg 0", "dog/1.jpg 1")
    assert fingerprint(tmp_path / "copy", "cat/1.jpg   0", "", "dog/1.jpg 1") == base
    others = {
        fingerprint(tree, "dog/1.jpg 1", "cat/1.jpg 0"),
        fingerprint(tree, "cat/1.jpg 0", "dog/1.jpg 2"),
        fingerprint(tree, "cat/1.jpg 0"),
    }
    (tree / "cat" / "1.jpg").write_bytes(b"another")
    others.add(fingerprint(tree, "cat/1.jpg 0", "dog/1.jpg 1"))
    assert len(others - {base}) == 4


@pytest.mark.parametrize(
    "line", ["dog/1.jpg", "dog/1.jpg one", "dog/1.jpg 1.0", "dog/1.jpg -2", "dog/1.jpg 1_0", "7"]
)
def test_a_line_of_another_form_is_told_by_its_number(tree: Path, line: str):
    path = write_list(tree, "cat/1.jpg 0", "", line)
    with pytest.raises(DataError, match=rf"line 3 of '.*test_pets\.txt' is '{line}': it must be"):
        read_list_file(path, tree)


def test_missing_files_are_counted_and_the_first_told_by_its_line(tree: Path):
    path = write_list(tree, "cat/1.jpg 0", "", "dog/8.jpg 1", "dog 1", "dog/1.jpg 1")
    with pytest.raises(DataError, match=r"2 of 4 images .* first is 'dog/8\.jpg' in line 3"):
        read_list_file(path, tree)


def test_an_absolute_path_is_refused(tree: Path):
    path = write_list(tree, f"{tree}/cat/1.jpg 0")
    with pytest.raises(DataError, match=r"line 1 of .*1\.jpg': paths must start at the image root"):
        read_list_file(path, tree)


def test_a_label_without_a_name_is_refused(tree: Path):
    path = write_list(tree, "cat/1.jpg 0", "dog/1.jpg 2")
    with pytest.raises(DataError, match=r"image dog/1\.jpg .* the label 2: .* 0 to 1"):
        read_list_file(path, tree, label_names=("cat", "dog"))


def test_a_list_that_cannot_be_read_is_named(tree: Path):
    with pytest.raises(DataError, match=r"nowhere\.txt' cannot be read: No such file"):
        read_list_file(tree / "nowhere.txt", tree)
    with pytest.raises(DataError, match="gone' is no folder: the images of"):
        read_list_file(write_list(tree, "cat/1.jpg 0"), tree / "gone")
    with pytest.raises(DataError, match=r"test_pets\.txt' lists no image"):
        read_list_file(write_list(tree, "", " "), tree)
    (tree / "latin.txt").write_bytes(b"caf\xe9.jpg 0\n")
    with pytest.raises(DataError, match=r"latin\.txt' is no UTF-8 text"):
        read_list_file(tree / "latin.txt", tree)
