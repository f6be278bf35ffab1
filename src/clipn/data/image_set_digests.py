"""How image sets are recognised: digests that a copy on another machine has too."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

__all__ = ["digest_files", "digest_of", "spread"]

FINGERPRINT_BYTES = 64 * 1024
# Names and sizes tell data sets apart; these catch files that were changed in place.
NUM_SAMPLED_FILES = 32


def digest_of(*parts: object) -> str:
    """A short digest of values with a stable `repr`, 16 hexadecimal digits.

    Example:
        >>> digest_of("a.jpg", 17) == digest_of("a.jpg", 18)
        False
    """
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def digest_files(
    names: Sequence[str], paths: Sequence[Path], *, num_sampled: int = NUM_SAMPLED_FILES
) -> str:
    """A digest of files wherever they lie: their names and sizes, and the ends of some of them.

    Args:
        names: What the files are called within their set.
        paths: Where they are; one that cannot be read counts by its name.
        num_sampled: Of how many files, spread evenly, the first and last 64 KiB count too.

    Returns:
        16 hexadecimal digits.
    """
    return digest_of(
        tuple(zip(names, map(_size, paths), strict=True)),
        tuple(_digest_ends(paths[number]) for number in spread(len(paths), num_sampled)),
    )


def spread(num_items: int, num_chosen: int) -> list[int]:
    """Numbers of items spread evenly, the first and the last among them.

    Args:
        num_items: How many there are, 1 or more.
        num_chosen: How many are wanted, 1 or more; the first and the last come in any case.

    Example:
        >>> spread(9, 3)
        [0, 4, 8]
    """
    steps = max(num_chosen - 1, 1)
    return sorted({step * (num_items - 1) // steps for step in range(steps + 1)})


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


def _digest_ends(path: Path) -> str:
    try:
        with path.open("rb") as file:
            digest = hashlib.sha256(file.read(FINGERPRINT_BYTES))
            file.seek(max(path.stat().st_size - FINGERPRINT_BYTES, 0))
            digest.update(file.read(FINGERPRINT_BYTES))
    except OSError:
        return ""
    return digest.hexdigest()
