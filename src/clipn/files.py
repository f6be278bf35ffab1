"""Files that are either whole or not there."""

import hashlib
import json
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

CHUNK_BYTES = 1 << 20

ASIDES = (".*.tmp", ".tmp??????")
"""Names of the temporary files that killed processes leave: our own, and those of safetensors."""


@contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """Have errors name what they are about where they do not say it, as on a full disk.

    Raises:
        OSError: Whatever the block raises; its `filename` is `path` if it had none.
    """
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise


@contextmanager
def write_aside(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path` to write to; rename it into place when that went well.

    Args:
        path: The file to make or replace; its folder is made if missing.

    Yields:
        The path to write to. If the block raises, it is removed and `path` stays as it was.

    Raises:
        OSError: Whatever the block raises; where that does not say which file it is about, as on a
            full disk, it now names `path`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with naming(path):
            aside.touch()
            mode = aside.stat().st_mode
            yield aside
            aside.chmod(mode)  # safetensors leaves its files readable to their owner only
            aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def drop_asides(folder: Path) -> None:
    """Remove the temporary files that killed processes left in a folder that nobody else writes."""
    for pattern in ASIDES:
        for path in folder.glob(pattern):
            path.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8, whole or not at all."""
    with write_aside(path) as aside:
        aside.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write JSON with two spaces of indent, whole or not at all."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_tensors(path: Path, tensors: "dict[str, Tensor]") -> None:
    """Write a safetensors file, whole or not at all.

    Args:
        path: The file to make or replace.
        tensors: Contiguous tensors on the CPU that share no memory.

    Raises:
        OSError: If it cannot be written.
    """
    # Imported here because it brings torch, which other files do without.
    import safetensors
    import safetensors.torch

    try:
        with write_aside(path) as aside:
            safetensors.torch.save_file(tensors, aside)
    except safetensors.SafetensorError as error:  # how it speaks of a full disk
        raise OSError(f"{path} cannot be written: {error}") from error


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it holds no JSON, or nests it deeper than any file of ours.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except RecursionError as error:
        raise ValueError("it nests too deeply") from error


def file_crc32(path: Path, *, num_bytes: int | None = None) -> int:
    """CRC-32 of a file's content: against accidents, and several times faster than SHA-256.

    Args:
        path: The file.
        num_bytes: Of how many bytes at its beginning; of all by default.

    Raises:
        OSError: If it cannot be read.
    """
    checksum, left = 0, path.stat().st_size if num_bytes is None else num_bytes
    with path.open("rb") as file:
        while chunk := file.read(min(left, CHUNK_BYTES)):
            checksum, left = zlib.crc32(chunk, checksum), left - len(chunk)
    return checksum


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's content, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
