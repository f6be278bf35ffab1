"""The seal of an exported file: a checksum at its end, which protobuf takes for metadata."""

from pathlib import Path

from clipn.errors import ModelError
from clipn.files import file_crc32

__all__ = ["check_seal", "make_seal"]

_KEY = b"clipn_crc32"
_NUM_DIGITS = 8
# Protobuf's encoding of one more entry among a model's metadata: tag and length of the entry, of
# its key and of its value. Messages that stand one after the other are read as one.
_START = bytes([0x72, len(_KEY) + _NUM_DIGITS + 4, 0x0A, len(_KEY), *_KEY, 0x12, _NUM_DIGITS])
_SEAL_BYTES = len(_START) + _NUM_DIGITS


def make_seal(path: Path) -> bytes:
    """What is to be appended to an ONNX file, so that damage to it is noticed.

    Raises:
        OSError: If the file cannot be read.
    """
    return _START + f"{file_crc32(path):08x}".encode()


def check_seal(path: Path) -> None:
    """Refuse a file that is not as it was written: a bit turned over in it would go unnoticed.

    It is against accidents, not against malice, and takes about 0.3 s for 1 GB.

    Raises:
        ModelError: If it has no seal, or another than its own.
        OSError: If it cannot be read.
    """
    num_bytes = path.stat().st_size - _SEAL_BYTES
    with path.open("rb") as file:
        file.seek(max(0, num_bytes))
        seal = file.read()
    if not seal.startswith(_START):
        raise ModelError(
            f"{path} was not written by clipn export, or is cut short: it does not end with a "
            "checksum of clipn's."
        )
    if seal != _START + f"{file_crc32(path, num_bytes=num_bytes):08x}".encode():
        raise ModelError(
            f"{path} is damaged, or was changed since clipn export wrote it: its checksum differs. "
            "Export it again."
        )
