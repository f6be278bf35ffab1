"""Webdataset tars and CSV files: what becomes a pair, what a bad pair, what an error."""

import io
import json
import os
import pickle
import tarfile
from pathlib import Path

import pytest
import webdataset
from PIL import Image

from clipn.data import pair_formats
from clipn.data.pairs import BadPair, Pair, Shard, open_pairs
from clipn.errors import DataError


def jpeg(shade: int = 0) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (shade, 100, 200)).save(buffer, "JPEG")
    return buffer.getvalue()


def pairs_of(shards: list[Shard]) -> list[Pair]:
    return [pair for shard in shards for pair in shard.read() if isinstance(pair, Pair)]


def captions_of(shards: list[Shard]) -> list[str]:
    return [pair.captions[0] for pair in pairs_of(shards)]


def write_tar(path: Path, members: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:
        for name, content in members.items():
            header = tarfile.TarInfo(name)
            header.size = len(content)
            archive.addfile(header, io.BytesIO(content))
    return path


def numbered_tar(path: Path, num_pairs: int, first: int = 0) -> Path:
    members = {}
    for i in range(first, first + num_pairs):
        members |= {f"{i:06d}.jpg": jpeg(i), f"{i:06d}.txt": f"caption {i}".encode()}
    return write_tar(path, members)


def reasons_of(shards: list[Shard]) -> dict[str, str]:
    return {
        row.key: row.reason for shard in shards for row in shard.read() if isinstance(row, BadPair)
    }


def rows_before_the_break(shard: Shard, message: str) -> list[Pair | BadPair]:
    rows = []

    def read() -> None:
        for row in shard.read():
            rows.append(row)

    with pytest.raises(DataError, match=message):
        read()
    return rows


def test_a_tar_of_webdataset_gives_its_images_undecoded_with_caption_and_class(tmp_path):
    path = tmp_path / "00003.tar"
    with webdataset.TarWriter(str(path)) as writer:
        writer.write({"__key__": "000012", "jpg": jpeg(1), "txt": "a dog", "cls": 7})
        writer.write({"__key__": "000013", "png": b"not decoded", "txt": "ein Fuß"})
    [shard] = open_pairs(path)
    assert shard.name == "00003.tar"
    assert list(shard.read()) == [
        Pair(key="000012", image=jpeg(1), captions=("a dog",)),
        Pair(key="000013", image=b"not decoded", captions=("ein Fuß",)),
    ]
    [first, second] = open_pairs(path, class_column="cls")[0].read()
    assert isinstance(first, Pair)
    assert first.class_id == 7
    assert second == BadPair(key="000013", reason="no class in 'cls'")


def test_captions_and_classes_of_a_tar_come_from_its_json_before_its_txt(tmp_path):
    both = json.dumps({"title": ["a dog", "a hound", ""], "label": 3}).encode()
    path = write_tar(
        tmp_path / "a.tar",
        {
            "1.JPG": jpeg(),
            "1.json": both,
            "1.txt": b"another",
            "2.webp": b"image",
            "2.json": b'{"title": "", "label": null}',
            "2.txt": b"\xef\xbb\xbffrom txt\n",
            "2.cls": b"5\n",
        },
    )
    [first, second] = pairs_of(open_pairs(path, caption_column="title", class_column="label"))
    assert (first.captions, first.class_id) == (("a dog", "a hound"), 3)
    assert (second.captions, second.class_id) == (("from txt",), 5)


def test_rows_of_a_tar_that_cannot_be_used_are_named_and_the_others_read(tmp_path):
    path = write_tar(
        tmp_path / "a.tar",
        {
            "1.jpg": jpeg(),
            "2.txt": b"no picture",
            "3.jpg": jpeg(),
            "3.txt": b"  \n",
            "4.jpg": jpeg(),
            "4.txt": b"caf\xe9",
            "5.jpg": jpeg(),
            "5.json": b"{broken",
            "6.jpg": jpeg(),
            "6.json": b"[1, 2]",
            "7.jpg": b"",
            "7.txt": b"empty picture",
            "8.jpg": jpeg(),
            "8.json": b'{"caption": 8}',
            "9.jpg": jpeg(),
            "9.json": b'{"caption": "\\ud800"}',
            "a.jpg": jpeg(),
            "a.json": b"[" * 100_000,
            "b.jpg": jpeg(),
            "b.txt": b"good",
        },
    )
    shards = open_pairs(path)
    reasons = reasons_of(shards)
    assert captions_of(shards) == ["good"]
    assert reasons["1"] == "no caption"
    assert reasons["2"] == reasons["7"] == "no image"
    assert reasons["3"] == "the caption is empty"
    assert "not UTF-8" in reasons["4"]
    assert ".json cannot be read" in reasons["5"]
    assert "not an object" in reasons["6"]
    assert reasons["8"] == "the caption 8 is not a text"
    assert "not UTF-8" in reasons["9"]
    assert ".json cannot be read" in reasons["a"]


def test_a_key_that_comes_twice_in_a_tar_is_reported(tmp_path):
    unsorted = {"1.jpg": jpeg(), "2.jpg": jpeg(), "1.txt": b"one", "2.txt": b"two"}
    rows = list(open_pairs(write_tar(tmp_path / "a.tar", unsorted))[0].read())
    assert [row.key for row in rows] == ["1", "2", "1", "2"]
    assert "must follow each other" in reasons_of(open_pairs(tmp_path / "a.tar"))["1"]


def test_member_names_are_only_keys_and_write_or_read_nothing_outside(tmp_path):
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    inside = tmp_path / "data"
    inside.mkdir()
    path = inside / "a.tar"
    with tarfile.open(path, "w") as archive:
        for name in ("../../x", "/etc/x", str(tmp_path / "y")):
            for suffix, content in ((".jpg", jpeg()), (".txt", b"a dog")):
                header = tarfile.TarInfo(name + suffix)
                header.size = len(content)
                archive.addfile(header, io.BytesIO(content))
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
            header = tarfile.TarInfo(f"link{kind.decode()}.jpg")
            header.type, header.linkname = kind, str(secret)
            archive.addfile(header)
    before = sorted(tmp_path.rglob("*"))
    rows = list(open_pairs(path)[0].read())
    assert [row.key for row in rows] == ["../../x", "/etc/x", str(tmp_path / "y")]
    assert all(isinstance(row, Pair) and row.image == jpeg() for row in rows)
    assert sorted(tmp_path.rglob("*")) == before


def test_an_image_path_in_a_json_member_is_not_followed(tmp_path):
    (tmp_path / "x.jpg").write_bytes(jpeg())
    row = {"caption": "a dog", "image": str(tmp_path / "x.jpg")}
    path = write_tar(tmp_path / "a.tar", {"1.json": json.dumps(row).encode()})
    assert list(open_pairs(path)[0].read()) == [BadPair(key="1", reason="no image")]


class Bomb:
    """Leaves a file when it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


def test_pickled_members_are_never_loaded(tmp_path):
    bomb = pickle.dumps(Bomb(tmp_path / "exploded"))
    members = {f"1.{suffix}": bomb for suffix in ("pyd", "pkl", "pickle", "pth", "pt", "npy")}
    path = write_tar(tmp_path / "a.tar", {**members, "1.jpg": jpeg(), "1.txt": b"a dog"})
    assert captions_of(open_pairs(path)) == ["a dog"]
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("cut", ["in a member", "in a header", "before the end mark"])
def test_a_truncated_tar_gives_its_whole_pairs_and_then_an_error(tmp_path, cut):
    # A pair is header 512, image 1024 (two blocks), header 512, text 512.
    assert 512 < len(jpeg()) <= 1024
    path = numbered_tar(tmp_path / "a.tar", 3)
    kept = {"in a member": 2 * 2560 + 700, "in a header": 2 * 2560 + 200}
    content = path.read_bytes()[: kept.get(cut, 3 * 2560)]
    path.write_bytes(content)
    rows = rows_before_the_break(open_pairs(path)[0], r"shard a\.tar is broken")
    # The last pair before the break may lack members, so it is left out.
    expected = ["000000", "000001"] if cut == "before the end mark" else ["000000"]
    assert [row.key for row in rows] == expected


def test_a_garbled_header_is_an_error_and_not_the_end(tmp_path):
    path = numbered_tar(tmp_path / "a.tar", 3)
    content = bytearray(path.read_bytes())
    content[2 * 2560 : 2 * 2560 + 512] = b"\xff" * 512
    path.write_bytes(content)
    with pytest.raises(DataError, match="broken"):
        list(open_pairs(path)[0].read())


def test_compressed_tars_are_read_and_their_truncation_noticed(tmp_path):
    members = {f"{i}.jpg": os.urandom(5000) for i in range(20)}
    members |= {f"{i}.txt": b"a dog" for i in range(20)}
    path = write_tar(tmp_path / "a.tar.gz", dict(sorted(members.items())), "w:gz")
    assert len(pairs_of(open_pairs(path))) == 20
    path.write_bytes(path.read_bytes()[:50_000])
    with pytest.raises(DataError, match="broken"):
        list(open_pairs(path)[0].read())


@pytest.mark.parametrize("content", [b"", b"no tar at all", b"\x1f\x8b not gzip either"])
def test_what_is_no_tar_is_an_error_when_it_is_read(tmp_path, content):
    path = tmp_path / "a.tar"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.tar is broken"):
        list(open_pairs(path)[0].read())


def test_a_tar_that_vanished_is_an_error_when_it_is_read(tmp_path):
    [shard] = open_pairs(numbered_tar(tmp_path / "a.tar", 1))
    (tmp_path / "a.tar").unlink()
    with pytest.raises(DataError, match=r"a\.tar is broken"):
        list(shard.read())


def test_the_second_of_two_members_of_one_name_is_left_out_with_a_warning(tmp_path, caplog):
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as archive:
        for name, content in (("1.txt", b"a dog"), ("1.txt", b"a cat"), ("1.jpg", jpeg())):
            header = tarfile.TarInfo(name)
            header.size = len(content)
            archive.addfile(header, io.BytesIO(content))
    assert captions_of(open_pairs(path)) == ["a dog"]
    assert "a.tar: 1.txt: duplicate file name" in caplog.text


def test_a_member_of_enormous_size_is_left_out_with_a_warning(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(pair_formats, "MAX_MEMBER_BYTES", 5000)
    members = {"1.jpg": b"x" * 5001, "1.txt": b"a dog", "2.jpg": b"x", "2.txt": b"a cat"}
    path = write_tar(tmp_path / "a.tar", members)
    assert list(open_pairs(path)[0].read()) == [
        BadPair(key="1", reason="no image"),
        Pair(key="2", image=b"x", captions=("a cat",)),
    ]
    assert "1.jpg has 5001 bytes" in caplog.text


def image_folder(folder: Path, num_images: int) -> Path:
    (folder / "images").mkdir()
    for i in range(num_images):
        (folder / "images" / f"{i}.jpg").write_bytes(jpeg(i))
    return folder


def test_image_paths_of_a_csv_are_relative_to_it_and_quotes_are_undone(tmp_path):
    path = image_folder(tmp_path, 2) / "train.csv"
    text = '\ufeffcaption,image\n"a dog, a ""good"" one\nwith a line",images/0.jpg\nein Fuß,{}\n'
    path.write_text(text.format(tmp_path / "images" / "1.jpg"), encoding="utf-8")
    [shard] = open_pairs(path)
    assert shard.name == "train.csv[0:2]"
    assert list(shard.read()) == [
        Pair(
            key="0",
            image=tmp_path / "images" / "0.jpg",
            captions=('a dog, a "good" one\nwith a line',),
        ),
        Pair(key="1", image=tmp_path / "images" / "1.jpg", captions=("ein Fuß",)),
    ]


@pytest.mark.parametrize("name", ["cc3m.tsv", "cc3m.csv"])
def test_the_tab_separated_files_of_cc3m_are_read_by_their_columns(tmp_path, name):
    path = image_folder(tmp_path, 1) / name
    path.write_text("filepath\ttitle\tclass\nimages/0.jpg\ta dog, a cat\t4.0\n")
    shards = open_pairs(path, image_column="filepath", caption_column="title", class_column="class")
    [pair] = pairs_of(shards)
    assert (pair.captions, pair.class_id) == (("a dog, a cat",), 4)


def test_shards_of_a_csv_are_row_ranges_that_join_without_gap(tmp_path):
    path = image_folder(tmp_path, 1) / "train.csv"
    lines = [f'images/0.jpg,"caption\n{i}"\r\n' for i in range(10)]
    path.write_bytes(("image,caption\r\n" + "\r\n".join(lines)).encode())
    shards = open_pairs(path, rows_per_shard=4)
    assert [s.name for s in shards] == ["train.csv[0:4]", "train.csv[4:8]", "train.csv[8:10]"]
    assert captions_of(shards) == [f"caption\n{i}" for i in range(10)]
    assert [pair.key for pair in pairs_of(shards)] == [str(i) for i in range(10)]
    assert len(open_pairs(path, rows_per_shard=5)) == 2
    assert len({shard.fingerprint for shard in shards}) == 3


def test_rows_of_a_csv_that_cannot_be_used_are_named_and_the_others_read(tmp_path):
    path = image_folder(tmp_path, 1) / "train.csv"
    rows = [
        b"images/0.jpg,",
        b"images/none.jpg,a dog",
        b",a dog",
        b"images/0.jpg,caf\xe9",
        b"images/0.jpg,a dog, a cat",
        b"images/0.jpg",
        b"images/\x00.jpg,a dog",
        b"x" * 5000 + b".jpg,a dog",
        b"images,a folder",
        b'images/0.jpg,"' + b"x" * 30_000 + b'"',
        b"images/0.jpg,good",
    ]
    path.write_bytes(b"image,caption\n" + b"\n".join(rows))
    shards = open_pairs(path)
    reasons = reasons_of(shards)
    assert captions_of(shards) == ["good"]
    assert reasons["0"] == "the caption is empty"
    assert reasons["1"].startswith("no image file")
    assert reasons["2"] == "no image"
    assert "not UTF-8" in reasons["3"]
    assert reasons["4"] == "3 fields where the header has 2"
    assert reasons["5"] == "1 fields where the header has 2"
    assert all(reasons[key].startswith("no image file") for key in "678")
    assert "quote left open" in reasons["9"]


@pytest.mark.parametrize(("value", "expected"), [("3", 3), ("3.0", 3), ("", -1), ("-1", -1)])
def test_class_numbers_of_a_csv_are_whole_or_missing(tmp_path, value, expected):
    path = image_folder(tmp_path, 1) / "train.csv"
    path.write_text(f"image,caption,label\nimages/0.jpg,a dog,{value}\n")
    [pair] = pairs_of(open_pairs(path, class_column="label"))
    assert pair.class_id == expected


@pytest.mark.parametrize("value", ["dog", "3.5", "nan", "True", "9" * 30])
def test_other_class_numbers_make_a_bad_pair(tmp_path, value):
    path = image_folder(tmp_path, 1) / "train.csv"
    path.write_text(f"image,caption,label\nimages/0.jpg,a dog,{value}\n")
    assert "the class" in reasons_of(open_pairs(path, class_column="label"))["0"]


def test_a_csv_that_became_shorter_is_an_error(tmp_path):
    path = image_folder(tmp_path, 1) / "train.csv"
    path.write_text("image,caption\nimages/0.jpg,a dog\nimages/0.jpg,a cat\n")
    [shard] = open_pairs(path)
    path.write_text("image,caption\nimages/0.jpg,a dog\n")
    with pytest.raises(DataError, match=r"train.csv\[0:2\] is broken: it ends before row 1"):
        list(shard.read())


def test_a_quote_that_swallows_the_file_is_an_error(tmp_path):
    path = tmp_path / "train.csv"
    path.write_text('image,caption\nx.jpg,"' + "never closed\n" * 20_000)
    with pytest.raises(DataError, match="field larger"):
        open_pairs(path)
