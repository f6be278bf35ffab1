"""What image sets in few large files share: how the files are found and called."""

import os
from collections.abc import Sequence
from pathlib import Path

from clipn.errors import DataError

__all__ = ["find_shards", "name_shards"]


def find_shards(paths: str | Path | Sequence[str | Path], suffix: str) -> list[Path]:
    """Find the files of a set.

    Args:
        paths: Files, whatever their suffix, and folders, which stand for the files in them with
            the suffix, sorted; or a single one of either.
        suffix: Such as ".parquet".

    Returns:
        At least one file.

    Raises:
        DataError: If a path does not exist, a folder holds no such file, or a file comes twice.
    """
    given = [paths] if isinstance(paths, str | Path) else paths
    found = [file for path in given for file in _files_at(Path(path), suffix)]
    if not found:
        raise DataError(f"No path is given: name a {suffix} file or a folder of them.")
    seen: set[Path] = set()
    for file in found:
        if file.resolve() in seen:
            raise DataError(f"'{file}' is named twice: each file may come once.")
        seen.add(file.resolve())
    return found


def _files_at(path: Path, suffix: str) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise DataError(f"'{path}' does not exist: name a {suffix} file or a folder of them.")
    found = sorted(file for file in path.glob(f"*{suffix}") if not file.name.startswith("."))
    if not found:
        raise DataError(f"'{path}' holds no {suffix} file.")
    return found


def name_shards(files: Sequence[Path]) -> list[str]:
    """Name files by their paths below the folder that all lie in, so that a copy is called alike.

    Example:
        >>> name_shards([Path("data/a/1.tar"), Path("data/b/1.tar")])
        ['a/1.tar', 'b/1.tar']
    """
    absolute = [file.absolute() for file in files]
    base = Path(os.path.commonpath([file.parent for file in absolute]))
    return [file.relative_to(base).as_posix() for file in absolute]
