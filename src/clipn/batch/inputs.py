"""From an address to the files that hold the images."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any, get_args

from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem

from clipn.batch.options import InputKind
from clipn.batch.store import Store, open_address
from clipn.data.image_files import IMAGE_SUFFIXES, find_images
from clipn.data.image_set_digests import digest_of
from clipn.errors import DataError

__all__ = ["PLAN", "InputFiles", "find_input"]

PLAN = "_clipn/plan.json"
"""Where a run keeps its plan, by which its output folder is recognised."""

SUFFIXES: dict[InputKind, tuple[str, ...]] = {
    "tars": (".tar", ".tar.gz", ".tgz"),
    "parquet": (".parquet",),
    "images": tuple(IMAGE_SUFFIXES),
}
# What file systems call the thing that changes with a file; the first that is there counts.
VERSION_KEYS = ("ETag", "etag", "md5Hash", "mtime", "LastModified", "last_modified", "created")


@dataclass(frozen=True, kw_only=True)
class InputFiles:
    """The files of an input, sorted by name."""

    kind: InputKind
    """What they hold."""

    fs: AbstractFileSystem
    """Where they lie."""

    root: str
    """The folder, on `fs`, that names start at."""

    names: tuple[str, ...]
    """Their paths below the root."""

    sizes: tuple[int, ...]
    """Bytes of each."""

    fingerprint: str
    """16 hexadecimal digits of names, sizes and, as each file system has it, ETag or time of the
    last change."""

    @property
    def address(self) -> str:
        """The root's address."""
        return self.fs.unstrip_protocol(self.root)


def find_input(address: str | Path, kind: InputKind | None = None) -> InputFiles:
    """Find the files that an address stands for.

    Args:
        address: A file; a folder of tars or of Parquet files, its subfolders aside; a folder with
            images in and below it; the output folder of a run that kept embeddings; or a glob. On
            this machine or at any address of fsspec's.
        kind: What is to be found; by default tars, else Parquet files, else images.

    Raises:
        DataError: If nothing is found.
        ValueError: If there is no such kind.
    """
    if kind is not None and kind not in get_args(InputKind):
        raise ValueError(f"input_kind must be one of {get_args(InputKind)}; got {kind!r}.")
    fs, path = open_address(address)
    path = path.rstrip("/")
    if kind in (None, "embeddings") and fs.exists(f"{path}/{PLAN}"):
        parts = Store(fs=fs, root=path).names("part-*.parquet")
        return _describe("embeddings", fs, [fs.info(f"{path}/{part}") for part in parts], path)
    if kind == "embeddings":
        raise DataError(f"'{address}' is no output folder of clipn batch: it has no {PLAN}.")
    entries = _list(fs, path)
    kinds: list[InputKind] = [kind] if kind else ["tars", "parquet", "images"]
    for candidate in kinds:
        wanted = [entry for entry in entries if _name(entry).lower().endswith(SUFFIXES[candidate])]
        if candidate == "images" and (len(wanted) != 1 or fs.isdir(path)):
            wanted = _find_images(fs, path)
        if wanted:
            return _describe(candidate, fs, wanted, path)
    what = " or ".join(kinds)
    raise DataError(f"'{address}' holds no {what}: name a file, a folder, a glob or an address.")


def _list(fs: AbstractFileSystem, path: str) -> list[dict[str, Any]]:
    """The visible files that a path stands for, without its subfolders."""
    if fs.isfile(path):
        return [fs.info(path)]
    try:
        found: Any = fs.ls(path, detail=True) if fs.isdir(path) else _glob(fs, path)
    except FileNotFoundError:
        found = []
    return [
        entry for entry in found if entry["type"] == "file" and not _name(entry).startswith(".")
    ]


def _find_images(fs: AbstractFileSystem, path: str) -> list[dict[str, Any]]:
    """The images in and below a path."""
    if isinstance(fs, LocalFileSystem):
        return [fs.info(str(image)) for image in find_images([path])]
    folders: Any = [path] if fs.isdir(path) else fs.glob(path)
    found = ((folder, entry) for folder in folders for entry in _find(fs, folder))
    return [
        entry
        for folder, entry in found
        if _name(entry).lower().endswith(SUFFIXES["images"])
        and "/." not in entry["name"].removeprefix(folder)
    ]


def _glob(fs: AbstractFileSystem, pattern: str) -> Iterator[dict[str, Any]]:
    found: Any = fs.glob(pattern, detail=True)  # a list or, with details, a dict
    yield from found.values()


def _find(fs: AbstractFileSystem, folder: str) -> Iterator[dict[str, Any]]:
    found: Any = fs.find(folder, detail=True)
    yield from found.values()


def _name(entry: dict[str, Any]) -> str:
    return entry["name"].rstrip("/").rpartition("/")[2]


def _describe(
    kind: InputKind, fs: AbstractFileSystem, entries: Sequence[dict[str, Any]], path: str
) -> InputFiles:
    root = path if fs.isdir(path) else _shared_folder([entry["name"] for entry in entries])
    # Sorted, as file systems list in whatever order they like.
    files = sorted(entries, key=lambda entry: entry["name"])
    names = tuple(entry["name"][len(root) :].lstrip("/") for entry in files)
    if misnamed := [name for name in names if not _is_text(name)]:
        raise DataError(
            f"The name of the file {misnamed[0]!r} is no UTF-8 text, which tables cannot hold: "
            "rename it."
        )
    sizes = tuple(int(entry["size"]) for entry in files)
    return InputFiles(
        kind=kind,
        fs=fs,
        root=root,
        names=names,
        sizes=sizes,
        fingerprint=digest_of(names, sizes, tuple(map(_version, files))),
    )


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _shared_folder(paths: Sequence[str]) -> str:
    folders = [path.split("/")[:-1] for path in paths]
    shared = folders[0]
    for folder in folders[1:]:
        pairs = zip(shared, folder, strict=False)
        shared = [here for here, _ in takewhile(lambda pair: pair[0] == pair[1], pairs)]
    return "/".join(shared)


def _version(entry: dict[str, Any]) -> str:
    return next((str(entry[key]) for key in VERSION_KEYS if entry.get(key)), "")
