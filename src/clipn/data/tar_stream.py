"""Tars read forward only, whatever they lie on: no member can send the reader elsewhere."""

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from tarfile import (
    EOFHeaderError,  # pyright: ignore[reportAttributeAccessIssue] - not in the stubs
    HeaderError,
    ReadError,
)
from typing import Any

__all__ = ["TarMember", "stream_members"]


@dataclass(frozen=True, kw_only=True)
class TarMember:
    """A regular file in a tar, to be read before the next member is asked for."""

    header: tarfile.TarInfo
    """Its name and size, as the tar states them."""

    archive: tarfile.TarFile
    """Where it lies."""

    def read(self) -> bytes:
        """Its content.

        Raises:
            OSError: The tar cannot be read.
            tarfile.TarError: The tar is cut short here.
        """
        stream = self.archive.extractfile(self.header)
        assert stream is not None, "only regular members come here"
        with stream:
            return stream.read()


class _StrictTarInfo(tarfile.TarInfo):
    """Refuses a cut or garbled header, which tarfile takes for the end of the archive."""

    @classmethod
    def fromtarfile(cls, tarfile: tarfile.TarFile) -> "_StrictTarInfo":
        """The next header, or an error where it is damaged."""
        try:
            return super().fromtarfile(tarfile)
        except EOFHeaderError:  # the mark at the end of a whole archive
            raise
        except HeaderError as error:
            raise ReadError(f"{error} at byte {tarfile.offset}: cut short?") from error


def stream_members(stream: Any) -> Iterator[TarMember]:
    """Go through a tar once, from front to back, with bounded memory.

    Args:
        stream: The tar as a binary file, at its start; it may be compressed.

    Yields:
        The regular members.

    Raises:
        OSError: It cannot be read.
        EOFError: It is compressed and cut short.
        tarfile.TarError: It is no tar, garbled or cut short.
    """
    with tarfile.open(
        fileobj=stream,
        mode="r|*",
        tarinfo=_StrictTarInfo,
        encoding="utf-8",
        errors="backslashreplace",
    ) as archive:
        while (header := archive.next()) is not None:
            # Else every header read so far stays in memory.
            archive.members.clear()  # pyright: ignore[reportAttributeAccessIssue]
            if header.isreg() and not header.issparse():
                yield TarMember(header=header, archive=archive)
