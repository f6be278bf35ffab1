"""Image sets in uncompressed tars: webdataset's, and packed trees of image files."""

import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from clipn.data.image_files import IMAGE_SUFFIXES
from clipn.data.image_set import ImageSet, LazyImages
from clipn.data.image_set_digests import digest_files, digest_of
from clipn.data.image_set_shards import find_shards, name_shards
from clipn.errors import DataError

__all__ = ["TarLabels", "read_tars"]

TarLabels = Literal["auto", "cls", "folder", "none"]
"""Where labels come from: .cls members, the folder an image lies in, or nowhere."""

COMPRESSIONS = {
    "gzip": b"\x1f\x8b",
    "bzip2": b"BZh",
    "xz": b"\xfd7zXZ\x00",
    "Zstandard": b"\x28\xb5\x2f\xfd",
}
MAX_CLS_BYTES = 64


@dataclass(frozen=True, kw_only=True)
class _Member:
    """Where an image lies in its tar."""

    path: Path
    offset: int
    size: int
    name: PurePosixPath
    id: str
    cls: int | None

    def read(self) -> bytes:
        """The member's bytes.

        Raises:
            DataError: If the tar can no longer be read.
        """
        try:
            with self.path.open("rb") as file:
                file.seek(self.offset)
                return file.read(self.size)
        except OSError as error:
            raise DataError(f"{self.id} cannot be read from '{self.path}': {error}") from error


def read_tars(
    paths: str | Path | Sequence[str | Path],
    *,
    name: str | None = None,
    labels: TarLabels = "auto",
) -> ImageSet:
    """Read images from one or several tars, each image directly from its place in the file.

    The headers are read once. Members with one of `clipn.data.image_files.IMAGE_SUFFIXES` are
    images; hidden ones are passed over, and of members that bear the same name the last counts.

    Args:
        paths: A tar, a folder of .tar files, or several of either. They must not be compressed:
            the images of a compressed tar cannot be reached one by one.
        name: What to call the set; by default as the first tar without its suffix.
        labels: "cls": a webdataset's, "0001.cls" with a whole number beside "0001.jpg"; "folder":
            the folder that an image lies in, numbered by sorted name; "none": there are none.
            "auto" takes .cls members where there are any, else folders where there are several.

    Returns:
        A set of bytes, tar by tar in the order of the members; ids are "val-0.tar/cat/0001.jpg".

    Raises:
        DataError: If a tar is missing, compressed, damaged or cut short, there is no image, or an
            image has no .cls while others have one.
    """
    files = find_shards(paths, ".tar")
    shards = name_shards(files)
    members = [
        member
        for path, shard in zip(files, shards, strict=True)
        for member in _read_members(path, shard)
    ]
    numbers, label_names = _labels_of(members, labels)
    ids = tuple(member.id for member in members)
    contents = digest_files(shards, files, num_sampled=len(files))
    sizes = tuple(member.size for member in members)
    return ImageSet(
        name=name or files[0].stem,
        images=LazyImages(lambda row: members[row].read(), range(len(members))),
        labels=numbers,
        label_names=label_names,
        ids=ids,
        fingerprint=digest_of(contents, ids, sizes, numbers, label_names),
    )


def _labels_of(
    members: Sequence[_Member], labels: TarLabels
) -> tuple[tuple[int, ...] | None, tuple[str, ...]]:
    folders = [member.name.parent.name for member in members]
    names = tuple(sorted(set(folders)))
    if labels == "auto":
        has_cls = any(member.cls is not None for member in members)
        labels = "cls" if has_cls else "folder" if len(names) > 1 else "none"
    if labels == "none":
        return None, ()
    if labels == "folder":
        numbers = {folder: number for number, folder in enumerate(names)}
        return tuple(numbers[folder] for folder in folders), names
    bare = next((member for member in members if member.cls is None), None)
    if bare is not None:
        raise DataError(f"{bare.id} has no label: a member '{bare.name.stem}.cls' is missing.")
    return tuple(member.cls for member in members if member.cls is not None), ()


def _read_members(path: Path, shard: str) -> Iterator[_Member]:
    """The images of a tar."""
    try:
        _refuse_compressed(path)
        headers = _read_headers(path)
        numbers = {
            member.with_suffix(""): _read_cls(path, header, f"{shard}/{member}")
            for member, header in headers.items()
            if member.suffix == ".cls"
        }
    except (OSError, tarfile.TarError) as error:
        raise DataError(f"'{path}' cannot be read as a tar: {error}.") from error
    for member, header in headers.items():
        if member.suffix.lower() in IMAGE_SUFFIXES:
            yield _Member(
                path=path,
                offset=header.offset_data,
                size=header.size,
                name=member,
                id=f"{shard}/{member}",
                cls=numbers.get(member.with_suffix("")),
            )


def _refuse_compressed(path: Path) -> None:
    with path.open("rb") as file:
        start = file.read(8)
    for kind, mark in COMPRESSIONS.items():
        if start.startswith(mark):
            raise DataError(
                f"'{path}' is compressed ({kind}): its images cannot be reached one by one; "
                "decompress it first."
            )


def _read_headers(path: Path) -> dict[PurePosixPath, tarfile.TarInfo]:
    """The headers of regular, visible members by name; a tar that is not whole is refused."""
    with tarfile.open(path, "r:", encoding="utf-8", errors="backslashreplace") as archive:
        headers = archive.getmembers()
        end = archive.offset
    with path.open("rb") as file:
        file.seek(end)
        mark = file.read(tarfile.BLOCKSIZE)
    # tarfile takes a garbled header, or none, for the end; the real end is a block of zeros.
    if len(mark) < tarfile.BLOCKSIZE or any(mark):
        raise DataError(f"'{path}' is damaged or cut short at byte {end}.")
    found = {PurePosixPath(header.name): header for header in headers}  # "./a.jpg" is "a.jpg"
    return {
        name: header
        for name, header in found.items()
        if header.isreg() and not header.issparse() and not _is_hidden(name)
    }


def _is_hidden(name: PurePosixPath) -> bool:
    return any(part.startswith(".") for part in name.parts)


def _read_cls(path: Path, header: tarfile.TarInfo, member: str) -> int:
    with path.open("rb") as file:
        file.seek(header.offset_data)
        text = file.read(min(header.size, MAX_CLS_BYTES)).decode("utf-8", "replace").strip()
    if not text.removeprefix("-").isdecimal():
        raise DataError(f"{member} holds {text!r}: a label must be a whole number.")
    return int(text)
