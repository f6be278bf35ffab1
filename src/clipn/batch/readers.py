"""The images of a partition, one after the other, with bounded memory."""

import gzip
import tarfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq
from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem

from clipn.batch.options import BatchOptions, InputKind
from clipn.batch.plan import FILES, Partition
from clipn.batch.store import Store, open_address
from clipn.data.image_files import IMAGE_SUFFIXES
from clipn.data.tar_stream import stream_members
from clipn.errors import DataError

__all__ = ["Image", "ImageReader", "is_damage", "read_columns"]

Image: TypeAlias = tuple[str, Path | bytes | Callable[[], bytes]]
"""What an image is called, and where it is or what fetches it; that may raise DataError."""

BATCH_ROWS = 128
# Without a buffer, or reading ahead, pyarrow loads a whole row group: perhaps the whole file.
PARQUET_BUFFER_BYTES = 1 << 20


class ImageReader:
    """Reads partitions of an input.

    Args:
        kind: What the images lie in.
        address: The input's root.
        store: The output folder, which lists the images that are files of their own.
        options: Which columns of Parquet files are read.
    """

    def __init__(self, kind: InputKind, address: str, store: Store, options: BatchOptions) -> None:
        self._kind, self._store, self._options = kind, store, options
        self.fs, self.root = open_address(address)

    def read(self, partition: Partition) -> Iterator[Image]:
        """Go through a partition, in the same order every time.

        A file that is damaged ends in images that say so: one for each row that is left of a
        Parquet file, one, called as the file, for all that is left of a tar.

        Args:
            partition: Of tars, Parquet files or images.

        Raises:
            DataError: If a tar has not the size that it had when the run was planned.
            OSError: If the file system fails.
        """
        if self._kind == "tars":
            return self._read_tar(partition)
        return self._read_files(partition) if self._kind == "images" else self._read_rows(partition)

    def _read_files(self, partition: Partition) -> Iterator[Image]:
        path, groups = self._store.path(FILES), range(partition.first, partition.stop)
        rows = read_columns(self._store.fs, path, groups, ["image"])
        try:
            names = [row["image"] for row in rows]
        except (OSError, KeyError, pa.ArrowException) as error:
            if not is_damage(error):
                raise
            raise DataError(f"{path} is damaged: {error!r}") from error
        for name in names:
            yield name, self._locate(f"{self.root}/{name}")

    def _locate(self, path: str) -> Path | Callable[[], bytes]:
        """A local path, or what fetches a file from elsewhere."""
        return Path(path) if isinstance(self.fs, LocalFileSystem) else _fetcher(self.fs, path)

    def _read_tar(self, partition: Partition) -> Iterator[Image]:
        path = f"{self.root}/{partition.file}"
        if (size := self.fs.size(path)) != partition.num_bytes:
            raise DataError(
                f"'{path}' has {size} bytes instead of {partition.num_bytes}: it has changed since "
                "the run was planned. Put it back, or start over (existing='replace')."
            )
        try:
            with self.fs.open(path, "rb") as stream:
                for member in stream_members(stream):
                    name = PurePosixPath(member.header.name)
                    is_hidden = any(part.startswith(".") for part in name.parts)
                    if name.suffix.lower() in IMAGE_SUFFIXES and not is_hidden:
                        yield f"{partition.file}/{name}", member.read()
        except (OSError, EOFError, tarfile.TarError) as error:
            if not is_damage(error):
                raise
            yield partition.file, _refuser(f"{partition.file} is damaged or cut short: {error}")

    def _read_rows(self, partition: Partition) -> Iterator[Image]:
        path = f"{self.root}/{partition.file}"
        folder = path.rpartition("/")[0]
        image, key = self._options.image_column, self._options.key_column
        columns = [image, *([key] if key else [])]
        number = partition.first_row
        stop = number + partition.num_images
        groups = range(partition.first, partition.stop)
        try:
            for row in read_columns(self.fs, path, groups, columns):
                value = f"{partition.file}:{number}" if key is None else str(row[key])
                yield value, self._image_in(row[image], folder)
                number += 1
        except (OSError, KeyError, pa.ArrowException) as error:
            if not is_damage(error):
                raise
            refuse = _refuser(f"{partition.file} is damaged: {error}")
            yield from ((f"{partition.file}:{row}", refuse) for row in range(number, stop))

    def _image_in(self, value: Any, folder: str) -> Path | bytes | Callable[[], bytes]:
        """The image of a cell; what is none becomes bytes that are refused."""
        if isinstance(value, Mapping):
            value = value["bytes"] or value.get("path")
        if isinstance(value, bytes):
            return value
        if not isinstance(value, str) or not value:
            return b""
        if "://" in value:
            return _fetcher(*open_address(value))
        return self._locate(value if value.startswith("/") else f"{folder}/{value}")


def read_columns(
    fs: AbstractFileSystem, path: str, groups: range, columns: list[str]
) -> Iterator[dict[str, Any]]:
    """The rows of some row groups of a Parquet file, a few in memory at a time.

    Args:
        fs: Where it lies.
        path: Where there.
        groups: Which row groups.
        columns: Which columns.

    Raises:
        OSError: If the file cannot be read.
        pyarrow.ArrowException: If it is damaged.
    """
    with (
        fs.open(path, "rb") as stream,
        pq.ParquetFile(
            stream,
            buffer_size=PARQUET_BUFFER_BYTES,
            pre_buffer=False,
            page_checksum_verification=True,
        ) as file,
    ):
        # One by one, so that damage to a row group takes no row of those before it.
        for group in groups:
            for batch in file.iter_batches(BATCH_ROWS, row_groups=[group], columns=columns):
                yield from batch.to_pylist()


def is_damage(error: BaseException) -> bool:
    """Whether a file is damaged, rather than out of reach for the moment.

    Arrow and zlib speak of damage as an OSError without a number.

    Example:
        >>> is_damage(OSError("Corrupt snappy compressed data.")), is_damage(TimeoutError())
        (True, False)
    """
    if isinstance(error, OSError):
        is_plain = type(error) is OSError or isinstance(error, gzip.BadGzipFile)
        return is_plain and error.errno is None
    return True


def _fetcher(fs: AbstractFileSystem, path: str) -> Callable[[], bytes]:
    def fetch() -> bytes:
        """Read the file."""
        try:
            content: Any = fs.cat_file(path)
            return content
        except OSError as error:
            raise DataError(f"{path} cannot be read as an image: {error}") from error

    return fetch


def _refuser(reason: str) -> Callable[[], bytes]:
    def refuse() -> bytes:
        """Say what is wrong in the place of an image."""
        raise DataError(reason)

    return refuse
