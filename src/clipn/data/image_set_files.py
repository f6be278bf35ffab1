"""Image sets of image files: folders, and lists of files with labels."""

import re
from pathlib import Path
from typing import Literal

from clipn.data.image_files import find_images
from clipn.data.image_set import ImageSet
from clipn.data.image_set_digests import digest_files, digest_of
from clipn.errors import DataError

__all__ = ["FolderLayout", "read_folder", "read_list_file"]

FolderLayout = Literal["labelled", "flat"]
"""Whether the folders right below the root are classes, or say nothing."""

# A path may hold blanks, so the label is what follows the last of them.
LIST_LINE = re.compile(r"(?P<path>.*\S)\s+(?P<label>-1|[0-9]+)")


def read_folder(
    folder: str | Path, *, name: str | None = None, layout: FolderLayout = "labelled"
) -> ImageSet:
    """Read the images in and below a folder, sorted by path.

    Args:
        folder: The root. Files with one of `clipn.data.image_files.IMAGE_SUFFIXES` are images;
            hidden ones are passed over, linked folders entered.
        name: What to call the set; by default as the folder.
        layout: "labelled": each folder right below the root is a class with all images below it,
            numbered by sorted name, an empty one included. "flat": there are no labels.

    Returns:
        A set of paths; ids are the paths below the root.

    Raises:
        DataError: If the folder is missing or holds no image, or a labelled one holds images that
            lie in no class folder.
    """
    root = Path(folder)
    if not root.is_dir():
        raise DataError(f"'{root}' is no folder: name one that holds the images.")
    paths = tuple(find_images([root]))
    inner = [path.relative_to(root) for path in paths]
    labels, label_names = None, ()
    if layout == "labelled":
        label_names = tuple(
            sorted(
                entry.name
                for entry in root.iterdir()
                if entry.is_dir() and not entry.name.startswith(".")
            )
        )
        loose = next((path for path in inner if len(path.parts) == 1), None)
        if loose is not None:
            raise DataError(
                f"'{root}' holds the image '{loose}' outside of any class folder: move it into "
                "one, or read the folder as layout='flat'."
            )
        numbers = {label_name: number for number, label_name in enumerate(label_names)}
        labels = tuple(numbers[path.parts[0]] for path in inner)
    ids = tuple(path.as_posix() for path in inner)
    return ImageSet(
        name=name or root.resolve().name,
        images=paths,
        labels=labels,
        label_names=label_names,
        ids=ids,
        fingerprint=digest_of(digest_files(ids, paths), labels, label_names),
    )


def read_list_file(
    list_file: str | Path,
    image_root: str | Path,
    *,
    name: str | None = None,
    label_names: tuple[str, ...] = (),
) -> ImageSet:
    """Read a list of image files, as OpenOOD publishes them.

    Args:
        list_file: UTF-8 text, one `relative/path label` a line. The label is a whole number, -1
            for OOD, after the last blank of the line; empty lines are passed over.
        image_root: The folder that the paths start at.
        name: What to call the set; by default as the list without its suffix.
        label_names: What the labels index, where that is known.

    Returns:
        A set of paths in the order of the list; ids are the paths as they are listed.

    Raises:
        DataError: If the list or the root is missing, a line is of another form (its number is
            told) or names no file below the root, a label has no name, or the list is empty.

    Source: Zhang et al., "OpenOOD v1.5: Enhanced Benchmark for Out-of-Distribution Detection",
        2023, whose lists have this form.
    """
    list_file, root = Path(list_file), Path(image_root)
    if not root.is_dir():
        raise DataError(f"'{root}' is no folder: the images of '{list_file}' must lie below it.")
    entries = _read_entries(list_file)
    if not entries:
        raise DataError(f"'{list_file}' lists no image: a line is a path, a blank and a label.")
    ids = tuple(path for _, path, _ in entries)
    paths = tuple(root / path for path in ids)
    missing = [entry for entry, path in zip(entries, paths, strict=True) if not path.is_file()]
    if missing:
        line, path, _ = missing[0]
        raise DataError(
            f"'{list_file}' lists {len(missing)} of {len(entries)} images that are not below "
            f"'{root}'; the first is '{path}' in line {line}."
        )
    labels = tuple(label for _, _, label in entries)
    return ImageSet(
        name=name or list_file.stem,
        images=paths,
        labels=labels,
        label_names=label_names,
        ids=ids,
        fingerprint=digest_of(digest_files(ids, paths), labels, label_names),
    )


def _read_entries(list_file: Path) -> list[tuple[int, str, int]]:
    """Line number, path and label of each line that is not empty."""
    try:
        text = list_file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"'{list_file}' cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"'{list_file}' is no UTF-8 text: {error}.") from error
    # Not splitlines, which also breaks at characters that a file name may hold.
    lines = [line.strip() for line in text.split("\n")]
    return [
        (number, *_parse_line(line, f"line {number} of '{list_file}'"))
        for number, line in enumerate(lines, start=1)
        if line
    ]


def _parse_line(line: str, where: str) -> tuple[str, int]:
    match = LIST_LINE.fullmatch(line)
    if match is None:
        raise DataError(
            f"{where} is {line!r:.200}: it must be a path, a blank, and a label that is a whole "
            "number, -1 for OOD."
        )
    if Path(match["path"]).is_absolute():
        raise DataError(f"{where} names '{match['path']}': paths must start at the image root.")
    return match["path"], int(match["label"])
