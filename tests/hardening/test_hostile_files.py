"""Files made to do harm: code to unpickle, ways out of a folder, bombs."""

import io
import pickle
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from specimens import draw_picture, encode

from clipn.calibration import calibration_from_json
from clipn.data.array_file import open_array, read_arrays
from clipn.data.image_set_tars import read_tars
from clipn.data.images import read_image
from clipn.data.pairs import BadPair, open_pairs
from clipn.errors import ClipnError, DataError, ModelError
from clipn.model import load_model
from clipn.model.reference import import_reference_checkpoint


class Harm:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def test_nothing_is_ever_unpickled(tmp_path: Path):
    done = tmp_path / "done"
    pickled = pickle.dumps(Harm(done), protocol=2)
    pickle.loads(pickled)
    assert done.exists()  # it does work
    done.unlink()

    for name in ("a.npy", "epoch_1.pt", "model.safetensors"):
        (tmp_path / name).write_bytes(pickled)
    torch.save({"state_dict": {"a": Harm(done)}}, tmp_path / "epoch_2.pt")
    np.save(tmp_path / "objects.npy", np.array([Harm(done)], dtype=object))
    np.savez(tmp_path / "objects.npz", a=np.array([Harm(done)], dtype=object))
    (tmp_path / "config.json").write_text('{"format_version": 1}')
    for read in (
        lambda: open_array(tmp_path / "a.npy"),
        lambda: open_array(tmp_path / "objects.npy"),
        lambda: read_arrays(tmp_path / "objects.npz"),
        lambda: import_reference_checkpoint(tmp_path / "epoch_1.pt", "ViT-B-16"),
        lambda: import_reference_checkpoint(tmp_path / "epoch_2.pt", "ViT-B-16"),
        lambda: load_model(tmp_path),
    ):
        with pytest.raises(ClipnError):
            read()
    assert not done.exists()


def _write_hostile_tar(path: Path) -> None:
    picture = encode(draw_picture(), "JPEG")
    with tarfile.open(path, "w") as archive:
        for name in ("../../out.jpg", "/out.jpg", "in.jpg"):
            header = tarfile.TarInfo(name)
            header.size = len(picture)
            archive.addfile(header, io.BytesIO(picture))
            caption = tarfile.TarInfo(str(Path(name).with_suffix(".txt")))
            caption.size = 5
            archive.addfile(caption, io.BytesIO(b"a cat"))
        for name, kind in (("link.jpg", tarfile.SYMTYPE), ("hard.jpg", tarfile.LNKTYPE)):
            header = tarfile.TarInfo(name)
            header.type, header.linkname = kind, "/etc/passwd"
            archive.addfile(header)
        device = tarfile.TarInfo("zero.jpg")
        device.type, device.devmajor, device.devminor = tarfile.CHRTYPE, 1, 5
        archive.addfile(device)


def test_names_and_links_of_a_tar_lead_nowhere(tmp_path: Path):
    (tmp_path / "deep" / "er").mkdir(parents=True)
    path = tmp_path / "deep" / "er" / "a.tar"
    _write_hostile_tar(path)
    images = read_tars(path, labels="none")
    # Links and devices are no images, and neither is what starts with a dot, as ".." does.
    assert images.ids == ("a.tar//out.jpg", "a.tar/in.jpg")
    for image in images.images:
        assert isinstance(image, bytes)
        read_image(image)
    pairs = [pair for shard in open_pairs(path) for pair in shard.read()]
    assert not any(isinstance(pair, BadPair) for pair in pairs)
    assert all(isinstance(pair.image, bytes) for pair in pairs)
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["a.tar", "deep", "er"]


def _png(width: int, height: int) -> bytes:
    """A PNG of a few bytes that claims to be of a size."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        sealed = kind + content
        return struct.pack(">I", len(content)) + sealed + struct.pack(">I", zlib.crc32(sealed))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = chunk(b"IDAT", zlib.compress(bytes(3000)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + rows + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    "content",
    [
        _png(60_000, 60_000),
        b"BM" + struct.pack("<IIIIiiHHIIiiII", 54, 0, 54, 40, 60_000, 60_000, 1, 24, *[0] * 6),
        b"GIF89a" + struct.pack("<HHBBB", 60_000, 60_000, 0, 0, 0) + b";",
        b"P6 60000 60000 255\n",
    ],
    ids=["png", "bmp", "gif", "ppm"],
)
def test_images_larger_than_memory_are_refused_by_their_header(content: bytes):
    with pytest.raises(DataError, match="cannot be read as an image"):
        read_image(content)


def test_text_that_unpacks_to_much_is_not_unpacked():
    """A PNG may bring compressed text of any size; Pillow stops at a bound."""
    sealed = b"zTXt" + b"a\0\0" + zlib.compress(bytes(80_000_000))
    chunk = struct.pack(">I", len(sealed) - 4) + sealed + struct.pack(">I", zlib.crc32(sealed))
    whole = encode(draw_picture(), "PNG")
    with pytest.raises(DataError, match="too large"):
        read_image(whole[:33] + chunk + whole[33:])


def test_an_array_that_claims_to_be_large_is_refused(tmp_path: Path):
    header = "{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999, 9999), }".ljust(117)
    content = b"\x93NUMPY\x01\x00" + struct.pack("<H", 118) + header.encode() + b"\n" + bytes(64)
    (tmp_path / "a.npy").write_bytes(content)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("a.npy", content)
    with pytest.raises(DataError, match="cannot be read"):
        open_array(tmp_path / "a.npy")
    with pytest.raises(DataError, match="cannot be read"):
        read_arrays(tmp_path / "a.npz")


def test_a_calibration_that_claims_many_classes_is_refused():
    values = {"alpha": 0.1, "scores": [0.5] * 9, "best": [0] * 9, "num_classes": 10**11}
    with pytest.raises(ModelError, match="100000000000 classes, of which there are 3"):
        calibration_from_json(values, num_classes=3, what="it")
