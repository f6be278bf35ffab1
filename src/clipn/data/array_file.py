"""Arrays in files: .npy files written part by part, and reading that refuses what is damaged."""

import io
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from clipn.errors import DataError
from clipn.files import file_crc32, write_aside

# What numpy raises at a header that is no header; it reads one as Python text.
_BAD_HEADER = (
    EOFError, MemoryError, OverflowError, SyntaxError, TypeError, ValueError, tokenize.TokenError,
)  # fmt: skip
# What zipfile raises, at a method of compression or a password that nobody used, too.
_BAD_ARCHIVE = (KeyError, RuntimeError, zipfile.BadZipFile, zlib.error)


@contextmanager
def write_array(
    path: Path, *, shape: tuple[int, ...], dtype: np.dtype
) -> Iterator[Callable[[np.ndarray], None]]:
    """Write an array whole or not at all, holding one part of it in memory at a time.

    Written as a file and not through a memory map, because a full disk is an error of the one and
    kills the process with the other.

    Args:
        path: The file to make or replace.
        shape: Of the whole array.
        dtype: Of the whole array.

    Yields:
        A function that appends rows; their inner axes may be shorter, the rest is zero.

    Raises:
        OSError: If it cannot be written.
    """
    num_written = 0
    with write_aside(path) as aside, aside.open("wb") as file:

        def append(part: np.ndarray) -> None:
            """Write the next rows."""
            nonlocal num_written
            rows = np.zeros((len(part), *shape[1:]), dtype=dtype)
            rows[(slice(None), *(slice(size) for size in part.shape[1:]))] = part
            file.write(rows.data)
            num_written += len(part)

        header = {"descr": npy.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        npy.write_array_header_1_0(file, header)
        yield append
        assert num_written == shape[0]


def open_array(path: Path, *, checksum: int | None = None, hint: str = "") -> np.ndarray:
    """Memory-map an array for reading.

    Args:
        path: A .npy file.
        checksum: Its CRC-32; None where nobody noted it.
        hint: What to do about a damaged file, for the message.

    Raises:
        DataError: If it cannot be read, is damaged or would have to be unpickled.
    """
    try:
        if checksum is not None and file_crc32(path) != checksum:
            raise ValueError("its checksum is not the one that was noted when it was written")
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, *_BAD_HEADER) as error:
        raise DataError(f"{path} cannot be read: {error}.{hint}") from error


def read_arrays(
    path: Path, *, names: Collection[str] | None = None, hint: str = ""
) -> dict[str, np.ndarray]:
    """Read arrays of a .npz file.

    An array is parsed once its checksum was compared, so that damage is always found.

    Args:
        path: The file.
        names: Of those that are wanted, if they are there; all by default.
        hint: What to do about a damaged file, for the message.

    Raises:
        DataError: If it cannot be read, is damaged or would have to be unpickled.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            found = (name.removesuffix(".npy") for name in archive.namelist())
            wanted = [name for name in found if names is None or name in names]
            contents = {name: io.BytesIO(archive.read(f"{name}.npy")) for name in wanted}
        return {
            name: npy.read_array(content, allow_pickle=False) for name, content in contents.items()
        }
    except (OSError, *_BAD_ARCHIVE, *_BAD_HEADER) as error:
        raise DataError(f"{path} cannot be read ({error}).{hint}") from error
