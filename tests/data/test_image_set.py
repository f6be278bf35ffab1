"""What an image set guarantees, and what suites make of it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from clipn.data.image_set import ImageSet, LazyImages
from clipn.data.image_set_digests import digest_files, digest_of, spread
from clipn.data.image_set_shards import find_shards, name_shards
from clipn.errors import DataError


@pytest.fixture
def pets() -> ImageSet:
    return ImageSet(
        name="pets",
        images=(b"0", b"1", b"2", b"3", b"4"),
        labels=(0, 2, 1, -1, 0),
        label_names=("cat", "dog", "owl"),
        ids=("a", "b", "c", "d", "e"),
        fingerprint="0123456789abcdef",
    )


def test_a_selection_keeps_each_image_with_its_label_and_id(pets: ImageSet):
    chosen = pets.select([4, 1], name="some")
    assert (chosen.name, len(chosen)) == ("some", 2)
    assert list(chosen.images) == [b"4", b"1"]
    assert chosen.labels == (0, 2)
    assert chosen.ids == ("e", "b")
    assert chosen.label_names == pets.label_names
    assert list(chosen.select([1]).images) == [b"1"]
    assert pets.select([0]).name == "pets"


def test_a_selection_has_a_fingerprint_of_its_rows(pets: ImageSet):
    fingerprints = {
        pets.fingerprint,
        *(pets.select(rows).fingerprint for rows in ([0], [1], [0, 1], [1, 0], [4, 3, 2, 1, 0])),
    }
    assert len(fingerprints) == 6
    assert all(len(fingerprint) == 16 for fingerprint in fingerprints)
    assert pets.select([0, 1, 2, 3, 4]).fingerprint == pets.fingerprint


def test_a_selection_reads_nothing(pets: ImageSet):
    asked: list[int] = []
    lazy = replace(pets, images=LazyImages(lambda row: asked.append(row) or b"x", range(5)))
    chosen = lazy.select([3, 2]).images
    assert asked == []
    assert chosen[1] == b"x"
    assert asked == [2]


def test_lazy_images_are_a_sequence():
    images = LazyImages(lambda row: bytes([row]), range(5))
    assert images[-1] == b"\x04"
    assert list(images[1:4:2]) == [b"\x01", b"\x03"]
    assert list(images[1:4][1:]) == [b"\x02", b"\x03"]
    assert next(reversed(images)) == b"\x04"
    with pytest.raises(IndexError):
        images[5]


@pytest.mark.parametrize("row", [-1, 5])
def test_a_row_that_is_not_there_is_refused(pets: ImageSet, row: int):
    with pytest.raises(ValueError, match=f"rows must be 0 to 4 for the set pets; got {row}"):
        pets.select([0, row])


def test_classes_are_chosen_by_label_or_by_name_and_keep_their_labels(pets: ImageSet):
    chosen = pets.only_classes(["cat", 2])
    assert chosen.ids == ("a", "b", "e")
    assert chosen.labels == (0, 2, 0)
    assert chosen.label_names == pets.label_names
    assert pets.only_classes([-1], name="unknown").ids == ("d",)


def test_a_name_that_two_classes_bear_stands_for_both(pets: ImageSet):
    cranes = replace(pets, label_names=("crane", "dog", "crane"))
    assert cranes.only_classes(["crane"]).labels == (0, 2, 0)


def test_classes_that_are_not_there_are_named(pets: ImageSet):
    with pytest.raises(ValueError, match=r"no class 'cow'; it has 'cat', 'dog', 'owl'\."):
        pets.only_classes(["cat", "cow"])
    with pytest.raises(ValueError, match="no class 'cat'; it has no names"):
        replace(pets, label_names=()).only_classes(["cat"])
    with pytest.raises(DataError, match="The image set pets holds no image of 7, 8"):
        pets.only_classes([7, 8])
    with pytest.raises(DataError, match="has no labels to choose"):
        replace(pets, labels=None).only_classes([0])
    with pytest.raises(TypeError, match="must be a sequence of labels or names; got 'cat'"):
        pets.only_classes("cat")


def test_long_lists_of_classes_are_cut_in_messages(pets: ImageSet):
    many = replace(pets, label_names=tuple(f"class {number}" for number in range(1000)))
    with pytest.raises(ValueError, match=r"'class 11', \.\.\.\.$"):
        many.only_classes(["cow"])


def test_relabelling_numbers_the_classes_by_another_list(pets: ImageSet):
    other = pets.relabel(["owl", "cat"])
    assert other.labels == (1, 0, -1, -1, 1)
    assert other.label_names == ("owl", "cat")
    assert other.ids == pets.ids
    assert other.fingerprint == pets.fingerprint
    with pytest.raises(DataError, match="no named classes"):
        replace(pets, label_names=()).relabel(["owl"])


def test_images_keep_their_fingerprint_under_other_labels(pets: ImageSet):
    moved = pets.with_labels([2] * 5, ["x", "y", "z"])
    assert moved.labels == (2,) * 5
    assert pets.with_labels(None).labels is None
    assert moved.label_names == ("x", "y", "z")
    assert moved.fingerprint == pets.with_labels(None).fingerprint == pets.fingerprint
    with pytest.raises(DataError, match="has 5 images but 2 labels"):
        pets.with_labels([0, 1])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": (), "ids": (), "labels": None}, "The image set pets is empty"),
        ({"ids": ("a",)}, "pets has 5 images but 1 ids"),
        (
            {"labels": (0, 0, 3, 0, 0)},
            r"The image c of .* has the label 3: .* -1 \(OOD\) or 0 to 2",
        ),
        ({"labels": (0, -2, 0, 0, 0)}, "The image b of the set pets has the label -2"),
        ({"labels": (0, -2, 0, 0, 0), "label_names": ()}, r"-2: it must be -1 \(OOD\) or more"),
    ],
)
def test_parts_that_do_not_belong_together_are_refused(pets: ImageSet, changes: dict, message: str):
    with pytest.raises(DataError, match=message):
        replace(pets, **changes)


def test_a_digest_tells_its_parts_apart():
    digests = {digest_of("ab", "c"), digest_of("a", "bc"), digest_of("abc"), digest_of(("abc",))}
    assert len(digests) == 4
    assert digest_of("a", 1) == digest_of("a", 1)
    assert all(len(digest) == 16 for digest in digests)
    int(digest_of("a"), 16)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [((1, 4), [0]), ((3, 9), [0, 1, 2]), ((9, 3), [0, 4, 8]), ((5, 1), [0, 4])],
)
def test_items_are_spread_from_the_first_to_the_last(arguments: tuple, expected: list[int]):
    assert spread(*arguments) == expected


@pytest.fixture
def files(tmp_path: Path) -> Callable[..., list[Path]]:
    def write(folder: str, **contents: bytes) -> list[Path]:
        (tmp_path / folder).mkdir()
        paths = [tmp_path / folder / name for name in contents]
        for path, content in zip(paths, contents.values(), strict=True):
            path.write_bytes(content)
        return paths

    return write


def test_a_digest_of_files_depends_on_names_sizes_and_contents_alone(files: Callable):
    base = digest_files(["a", "b"], files("first", a=b"1", b=b"2"))
    assert digest_files(["a", "b"], files("copy", a=b"1", b=b"2")) == base
    assert digest_files(["a", "c"], files("renamed", a=b"1", b=b"2")) != base
    assert digest_files(["a", "b"], files("changed", a=b"1", b=b"3")) != base
    assert digest_files(["a", "b"], files("longer", a=b"1", b=b"22")) != base
    lost = files("lost", a=b"1", b=b"2")
    lost[1].unlink()
    assert digest_files(["a", "b"], lost) != base


def test_a_digest_of_many_files_opens_only_some(files: Callable, monkeypatch: pytest.MonkeyPatch):
    paths = files("many", **{f"{number}": b"x" for number in range(100)})
    opened, really_open = [], Path.open
    monkeypatch.setattr(
        Path, "open", lambda path, *args: opened.append(path) or really_open(path, *args)
    )
    digest_files([path.name for path in paths], paths)
    assert len(opened) == 32
    assert {paths[0], paths[-1]} <= set(opened)


def test_shards_are_found_in_order_and_called_by_what_follows_their_common_folder(files: Callable):
    b, a, _ = files("b", **{"2.tar": b"", "1.tar": b"", "3.txt": b""})
    (other,) = files("a", **{"9.tar": b""})
    assert find_shards(a.parent, ".tar") == [a, b]
    assert find_shards([b.parent, str(other)], ".tar") == [a, b, other]
    assert name_shards([a, b, other]) == ["b/1.tar", "b/2.tar", "a/9.tar"]
    assert name_shards([other]) == ["9.tar"]


def test_shards_that_are_not_there_are_named(files: Callable, tmp_path: Path):
    (path,) = files("a", **{"1.tar": b""})
    with pytest.raises(DataError, match=r"nowhere' does not exist: name a \.tar file or a folder"):
        find_shards([path, tmp_path / "nowhere"], ".tar")
    with pytest.raises(DataError, match=r"/a' holds no \.parquet file"):
        find_shards(path.parent, ".parquet")
    with pytest.raises(DataError, match=r"1\.tar' is named twice"):
        find_shards([path, path.parent], ".tar")
    with pytest.raises(DataError, match="No path is given"):
        find_shards([], ".tar")
