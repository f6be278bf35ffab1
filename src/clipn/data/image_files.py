"""From what a person types (files, folders, globs) to the image files that are meant."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from clipn.errors import DataError

__all__ = ["IMAGE_SUFFIXES", "find_images"]

# fmt: off
IMAGE_SUFFIXES = frozenset({
    ".apng", ".avif", ".bmp", ".gif", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpf",
    ".jpg", ".jpx", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".qoi", ".tif", ".tiff", ".webp",
})
# fmt: on
"""The suffixes by which images are told from other files in a folder, in lower case."""


def find_images(patterns: Iterable[str | Path]) -> list[Path]:
    """Find the image files that paths and globs name.

    A file is taken whatever its suffix. A folder stands for all files below it with one of
    `IMAGE_SUFFIXES`, sorted; hidden files and folders are passed over, and linked folders are
    entered once. A glob ("photos/**/*.jpg") stands for the files and folders it matches; files
    whose suffix it leaves open ("photos/*") must have one of `IMAGE_SUFFIXES`. A name with
    brackets that exists is no glob.

    Args:
        patterns: Files, folders and globs.

    Returns:
        The files in the order of `patterns`, each once.

    Raises:
        DataError: A pattern matches nothing, or a folder holds no image or cannot be listed.
        TypeError: `patterns` is a single pattern.
    """
    if isinstance(patterns, str | Path):
        raise TypeError(f"patterns must be an iterable of paths; got one, {str(patterns)!r}.")
    found: dict[tuple[Path, str], Path] = {}
    real_folders: dict[Path, Path] = {}
    for pattern in patterns:
        for path in _expand_or_refuse(pattern):
            folder = path.parent
            if folder not in real_folders:
                real_folders[folder] = folder.resolve()
            # Two ways to a folder are one; two links to a file are two images of a data set.
            found.setdefault((real_folders[folder], path.name), path)
    return list(found.values())


def _expand_or_refuse(pattern: str | Path) -> list[Path]:
    try:
        return _expand(pattern)
    except OSError as error:
        raise DataError(f"'{pattern}' cannot be looked up: {error.strerror}") from error


def _expand(pattern: str | Path) -> list[Path]:
    if not str(pattern):
        raise DataError("'' is no path: name a file, a folder or a glob.")
    path = Path(pattern)
    if path.is_dir():
        return _images_in_named(path)
    # A dangling link is somebody's file: reading it says what is wrong.
    if path.exists() or path.is_symlink():
        return [path]
    matches = list(_expand_glob(path))
    if not matches:
        raise DataError(f"'{pattern}' matches no image: there is no such file, folder or glob.")
    return matches


def _images_in_named(folder: Path) -> list[Path]:
    images = _images_in(folder)
    if not images:
        suffixes = " ".join(sorted(IMAGE_SUFFIXES))
        raise DataError(f"'{folder}' holds no image: no file in or below it ends in {suffixes}.")
    return images


def _images_in(folder: Path) -> list[Path]:
    entered: set[Path] = set()
    images: list[Path] = []
    for root, folders, files in os.walk(folder, followlinks=True, onerror=_refuse_folder):
        real = Path(root).resolve()
        if real in entered:
            folders.clear()
            continue
        entered.add(real)
        # os.walk goes on with what is left here; sorted, the same one of two links wins each time.
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        images.extend(Path(root, name) for name in files if _is_image_name(name))
    return sorted(images)


def _refuse_folder(error: OSError) -> None:
    raise DataError(f"'{error.filename}' cannot be listed: {error.strerror}") from error


def _is_image_name(name: str) -> bool:
    return not name.startswith(".") and Path(name).suffix.lower() in IMAGE_SUFFIXES


def _expand_glob(pattern: Path) -> Iterator[Path]:
    base, rest = _split_glob(pattern)
    if rest is None:
        return
    names_suffix = bool(Path(rest.name).suffix)
    shows_hidden = any(part.startswith(".") for part in rest.parts)
    for path in sorted(base.glob(str(rest))):
        inner = path.relative_to(base)
        if not shows_hidden and any(part.startswith(".") for part in inner.parts):
            continue
        if path.is_dir():
            yield from _images_in(path)
        elif names_suffix or _is_image_name(path.name):
            yield path


def _split_glob(pattern: Path) -> tuple[Path, Path | None]:
    """The part of a pattern that exists as written, and the glob below it, if it is one."""
    base, parts = Path(pattern.anchor), list(pattern.relative_to(pattern.anchor).parts)
    while parts and (base / parts[0]).exists():
        base /= parts.pop(0)
    is_glob = any(character in part for part in parts for character in "*?[")
    return base, Path(*parts) if is_glob else None
