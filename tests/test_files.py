"""Files are whole or not there."""

import hashlib
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from clipn.files import CHUNK_BYTES, drop_asides, file_sha256, write_aside, write_json, write_text


def test_a_file_appears_when_it_is_whole(tmp_path: Path):
    path = tmp_path / "new" / "folder" / "file.bin"
    with write_aside(path) as aside:
        aside.write_bytes(b"whole")
        assert aside.parent == path.parent  # a rename within one file system
        assert not path.exists()
    assert path.read_bytes() == b"whole"
    assert list(path.parent.iterdir()) == [path]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path):
    path = tmp_path / "file.txt"
    path.write_text("old")

    def write_half() -> None:
        with write_aside(path) as aside:
            aside.write_text("half of the n")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_block_that_removes_its_file_leaves_the_old_one(tmp_path: Path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(FileNotFoundError), write_aside(path) as aside:
        aside.unlink()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_that_names_no_file_gets_the_name_of_this_one(tmp_path: Path):
    path = tmp_path / "file.txt"

    def write(error: OSError) -> None:
        with write_aside(path):
            raise error

    with pytest.raises(OSError, match=r"\[Errno 28\] No space left on device: '.*/file\.txt'"):
        write(OSError(28, "No space left on device"))
    with pytest.raises(FileNotFoundError, match=r"No such file or directory: 'other\.txt'"):
        write(FileNotFoundError(2, "No such file or directory", "other.txt"))


@pytest.fixture
def usual_umask() -> Iterator[None]:
    previous = os.umask(0o022)
    yield
    os.umask(previous)


@pytest.mark.usefixtures("usual_umask")
def test_a_new_file_has_the_permissions_of_any_other(tmp_path: Path):
    """safetensors makes files that only their owner can read; a shared folder needs more."""
    with write_aside(tmp_path / "file") as aside:
        aside.unlink()
        os.close(os.open(aside, os.O_CREAT | os.O_WRONLY, 0o600))
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o644


def test_text_and_json_are_utf8_and_end_in_a_newline(tmp_path: Path):
    write_text(tmp_path / "text", "Käse\n猫")
    assert (tmp_path / "text").read_bytes() == "Käse\n猫".encode()
    value = {"name": "Käse", "list": [1, 2.5, None, True], "nested": {}}
    write_json(tmp_path / "value.json", value)
    text = (tmp_path / "value.json").read_text(encoding="utf-8")
    assert json.loads(text) == value
    assert text.startswith('{\n  "name": "Käse"')
    assert text.endswith("}\n")


def test_json_that_cannot_be_written_leaves_the_old_file(tmp_path: Path):
    write_json(tmp_path / "value.json", 1)
    with pytest.raises(TypeError):
        write_json(tmp_path / "value.json", {"path": tmp_path})
    assert (tmp_path / "value.json").read_text() == "1\n"
    assert len(list(tmp_path.iterdir())) == 1


def test_what_killed_writers_left_is_dropped_and_nothing_else(tmp_path: Path):
    left = [".file.bin.123.tmp", ".tmpYCm2xL"]  # the second is how safetensors names them
    others = [".hidden", "file.bin", "file.tmp"]
    for name in left + others:
        (tmp_path / name).touch()
    drop_asides(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == others


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES, CHUNK_BYTES + 1])
def test_a_checksum_is_that_of_the_whole_content(tmp_path: Path, size: int):
    content = bytes(range(256)) * (size // 256 + 1)
    (tmp_path / "file").write_bytes(content[:size])
    assert file_sha256(tmp_path / "file") == hashlib.sha256(content[:size]).hexdigest()
