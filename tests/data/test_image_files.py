import os
from pathlib import Path

import pytest
from PIL import Image

from clipn.data.image_files import IMAGE_SUFFIXES, find_images
from clipn.data.images import read_image
from clipn.errors import DataError


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """A folder of images among other things, beside the working folder."""
    for name in (
        "b.jpg",
        "A.PNG",
        "notes.txt",
        "raw.bin",
        ".hidden.jpg",
        "2024/c.webp",
        "2024/may/d.tif",
        ".thumbnails/e.jpg",
    ):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    monkeypatch.chdir(tmp_path)
    return Path("photos")


def names(found: list[Path]) -> list[str]:
    return [path.as_posix() for path in found]


def test_a_folder_stands_for_the_images_below_it_in_order(photos):
    expected = ["photos/2024/c.webp", "photos/2024/may/d.tif", "photos/A.PNG", "photos/b.jpg"]
    assert names(find_images([photos])) == expected
    assert names(find_images(["photos/"])) == expected
    assert find_images([photos.resolve()]) == [photos.resolve().parent / name for name in expected]


def test_the_working_folder_can_be_named_by_a_dot(photos, monkeypatch):
    monkeypatch.chdir(photos)
    assert names(find_images(["."])) == ["2024/c.webp", "2024/may/d.tif", "A.PNG", "b.jpg"]


def test_a_hidden_folder_can_be_named(photos):
    assert names(find_images(["photos/.thumbnails"])) == ["photos/.thumbnails/e.jpg"]


def test_a_file_is_taken_whatever_its_suffix(photos):
    given = ["photos/raw.bin", "photos/.hidden.jpg", "photos/b.jpg"]
    assert names(find_images(given)) == given


def test_duplicates_keep_their_first_place(photos):
    found = find_images(["photos/b.jpg", "photos", "photos/2024/../b.jpg", photos.resolve()])
    assert names(found) == [
        "photos/b.jpg",
        "photos/2024/c.webp",
        "photos/2024/may/d.tif",
        "photos/A.PNG",
    ]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("photos/*.jpg", ["photos/b.jpg"]),
        ("photos/**/*.tif", ["photos/2024/may/d.tif"]),
        ("photos/*.bin", ["photos/raw.bin"]),
        ("photos/[a-z].jpg", ["photos/b.jpg"]),
        ("ph*/?.jpg", ["photos/b.jpg"]),
        ("photos/20*", ["photos/2024/c.webp", "photos/2024/may/d.tif"]),
        ("photos/.*.jpg", ["photos/.hidden.jpg"]),
    ],
)
def test_a_glob_stands_for_what_it_matches(photos, pattern, expected):
    assert names(find_images([pattern])) == expected
    absolute = Path.cwd() / pattern
    assert find_images([absolute]) == [Path.cwd() / name for name in expected]


@pytest.mark.parametrize("pattern", ["photos/*", "photos/**", "photos/**/*"])
def test_a_glob_that_leaves_the_suffix_open_takes_only_images(photos, pattern):
    assert sorted(find_images([pattern])) == find_images([photos])


def test_a_name_with_brackets_that_exists_is_no_glob(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "may[1]").mkdir()
    for name in ("cat[1].jpg", "cat1.jpg", "may[1]/dog.jpg", "may[1]/owl.jpg"):
        (tmp_path / name).touch()
    assert names(find_images(["cat[1].jpg"])) == ["cat[1].jpg"]
    assert names(find_images(["may[1]/*.jpg"])) == ["may[1]/dog.jpg", "may[1]/owl.jpg"]


def test_links_that_go_round_in_circles_end(photos):
    (photos / "2024" / "up").symlink_to(photos.resolve(), target_is_directory=True)
    (photos / "self").symlink_to(".", target_is_directory=True)
    found = find_images(["photos"])
    assert len(found) == 4
    assert len({path.resolve() for path in found}) == 4
    assert sorted(path.resolve() for path in find_images(["photos/**/*"])) == sorted(
        path.resolve() for path in found
    )


def test_a_linked_folder_is_entered_and_a_linked_file_is_an_image_of_its_own(photos):
    Path("album").mkdir()
    Path("album/linked").symlink_to(photos.resolve() / "2024" / "may", target_is_directory=True)
    Path("album/x.tif").symlink_to(photos.resolve() / "2024" / "may" / "d.tif")
    assert names(find_images(["album"])) == ["album/linked/d.tif", "album/x.tif"]


def test_what_matches_nothing_is_named(photos):
    with pytest.raises(DataError, match=r"'photso' matches no image"):
        find_images(["photos", "photso"])
    with pytest.raises(DataError, match=r"'photos/\*\.gif' matches no image"):
        find_images(["photos/*.gif"])
    with pytest.raises(DataError, match="'' is no path"):
        find_images([""])


def test_a_name_too_long_for_a_file_is_refused():
    with pytest.raises(DataError, match="cannot be looked up: File name too long"):
        find_images(["a" * 5000])


def test_a_dangling_link_is_left_for_the_reader_to_refuse(tmp_path):
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nowhere")
    assert find_images([tmp_path / "gone.jpg"]) == [tmp_path / "gone.jpg"]
    assert find_images([tmp_path]) == [tmp_path / "gone.jpg"]


def test_a_folder_without_images_is_named_with_the_suffixes_looked_for(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(DataError, match=r"holds no image: .*\.avif .*\.jpg .*\.webp"):
        find_images([tmp_path])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may list every folder")
def test_a_folder_that_cannot_be_listed_is_not_passed_over(photos):
    (photos / "2024").chmod(0)
    try:
        with pytest.raises(DataError, match=r"2024' cannot be listed: Permission denied"):
            find_images([photos])
    finally:
        (photos / "2024").chmod(0o755)


def test_one_pattern_is_not_taken_for_a_list_of_letters():
    with pytest.raises(TypeError, match="must be an iterable of paths; got one, 'photos'"):
        find_images("photos")


def test_no_pattern_is_no_image():
    assert find_images([]) == []


def test_every_suffix_can_be_read(tmp_path):
    Image.init()
    for suffix in IMAGE_SUFFIXES:
        path = tmp_path / f"image{suffix}"
        mode = "1" if suffix == ".pbm" else "RGB"
        Image.new(mode, (16, 16)).save(path, "PNG" if suffix == ".apng" else None)
        assert read_image(path).size == (16, 16)
