"""A folder at any fsspec address, whose files are either whole or not there."""

import errno
import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from fsspec import AbstractFileSystem
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from clipn.errors import DataError

__all__ = ["Store", "open_address"]

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Errors that only writing meets; by themselves they name no file."""


def open_address(address: str | Path) -> tuple[AbstractFileSystem, str]:
    """Find the file system of an address, and the path on it.

    Args:
        address: A local path, or an address such as "s3://bucket/folder".

    Raises:
        DataError: If there is no such kind of address, or its package is not installed.
    """
    try:
        fs, path = url_to_fs(str(address))
    except (ImportError, ValueError) as error:
        raise DataError(f"The address '{address}' cannot be opened: {error}") from error
    return fs, os.path.normpath(path) if isinstance(fs, LocalFileSystem) else path


@dataclass(frozen=True, kw_only=True)
class Store:
    """A folder on a file system."""

    fs: AbstractFileSystem
    """The file system."""

    root: str
    """The folder's path on it."""

    @classmethod
    def open(cls, address: str | Path) -> "Store":
        """The folder at an address; it need not exist.

        Raises:
            DataError: If there is no such kind of address.
        """
        fs, root = open_address(address)
        return cls(fs=fs, root=root.rstrip("/"))

    @property
    def is_local(self) -> bool:
        """Whether it lies in this machine's file system."""
        return isinstance(self.fs, LocalFileSystem)

    @property
    def address(self) -> str:
        """The address of the folder."""
        return self.fs.unstrip_protocol(self.root)

    def path(self, name: str) -> str:
        """The path of a file in the folder."""
        return f"{self.root}/{name}"

    def exists(self, name: str) -> bool:
        """Whether there is such a file."""
        return self.fs.exists(self.path(name))

    def names(self, pattern: str, *, folder: str = "") -> list[str]:
        """The files right in the folder, or in one of its folders, that a pattern matches, sorted.

        Args:
            pattern: Of the file's own name.
            folder: Such as "_clipn/"; part of the names that are given back.
        """
        self.fs.invalidate_cache()
        try:
            paths = self.fs.ls(self.path(folder) if folder else self.root, detail=False)
        except FileNotFoundError:
            return []
        names = (path.rstrip("/").rpartition("/")[2] for path in paths)
        return sorted(folder + name for name in names if fnmatch(name, pattern))

    @contextmanager
    def write_aside(self, name: str) -> Iterator[Any]:
        """Write a file that appears under its name when it is whole.

        Args:
            name: The file; its folder is made if missing, and a file of that name is replaced.

        Yields:
            A binary file to write to. If the block raises, nothing appears.

        Raises:
            OSError: If it cannot be written; the error names the file.
        """
        folder, _, last = self.path(name).rpartition("/")
        self.fs.makedirs(folder, exist_ok=True)
        aside = f"{folder}/.{last}.{uuid.uuid4().hex[:12]}.tmp"
        try:
            with self.fs.open(aside, "wb") as stream:
                yield stream
            self._rename(aside, self.path(name))
        except FileNotFoundError:
            # Another process may have made the same file, and cleared away what was left over.
            if not self.exists(name):
                raise
        except OSError as error:
            if error.errno in NO_ROOM and error.filename is None:
                error.filename = self.path(name)
            raise
        finally:
            if self.fs.exists(aside):
                self.fs.rm_file(aside)

    def _rename(self, source: str, target: str) -> None:
        """Rename a file, so that it is never seen in part."""
        if self.is_local:
            Path(source).replace(target)  # fsspec copies where renaming fails
        else:
            self.fs.mv(source, target)

    def write_json(self, name: str, value: Any) -> None:
        """Write JSON with two spaces of indent, whole or not at all."""
        with self.write_aside(name) as stream:
            stream.write(json.dumps(value, indent=2, ensure_ascii=False).encode() + b"\n")

    def read_json(self, name: str) -> dict[str, Any]:
        """Read a JSON object.

        Raises:
            DataError: If it is missing or damaged.
        """
        try:
            value = json.loads(self.fs.cat_file(self.path(name)))
        except (OSError, ValueError) as error:
            raise DataError(f"{self.path(name)} cannot be read: {error}") from error
        if not isinstance(value, dict):
            raise DataError(f"{self.path(name)} holds a {type(value).__name__}, no object.")
        return value
