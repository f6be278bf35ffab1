"""Arrays on disk with one row an image, made block by block: an interrupted build goes on.

A finished cache is a folder with `rows.npy`, memory-mapped for reading, and `manifest.json`. While
it is built, every finished block is a file of its own.
"""

import json
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from clipn.data.array_file import open_array, read_arrays, write_array
from clipn.data.embedding_cache import MANIFEST, check_identity, read_manifest
from clipn.errors import DataError
from clipn.files import drop_asides, file_crc32, write_aside, write_json
from clipn.locking import hold_folder

BUILDING = "building.json"
ROWS = "rows.npy"
CHECKSUM = "rows_crc32"
BLOCK_ROWS = 2048

Block = tuple[Float[np.ndarray, "rows dim"], dict[int, str]]
"""The rows of a block, and why some of them (by their number in all) could not be made."""


def cached_rows(
    folder: Path,
    *,
    num_rows: int,
    identity: dict[str, Any],
    make_block: Callable[[range], Block],
    on_rows: Callable[[int, int], None] | None = None,
) -> tuple[Float[np.ndarray, "rows dim"], dict[int, str]]:
    """Make rows, or read them where the same ones were made before.

    Where another process makes them, its end is waited for.

    Args:
        folder: Of the cache; an interrupted build in it is continued.
        num_rows: How many rows there are.
        identity: What the rows depend on; plain JSON.
        make_block: Makes the rows of a range; a row that cannot be made is NaN and has a reason.
        on_rows: Called with (rows done, rows in all) after each block.

    Returns:
        The rows, memory-mapped and read-only, and the reasons by the number of the row.

    Raises:
        DataError: If there are no rows, the folder holds rows of something else, or its files are
            damaged.
        OSError: If they cannot be written; the blocks that were finished stay.
    """
    identity = {**identity, "num_rows": num_rows}
    if not num_rows:
        raise DataError(f"There are no rows to keep in {folder}.")
    is_finished = (folder / MANIFEST).exists() and not (folder / BUILDING).exists()
    with nullcontext() if is_finished else hold_folder(folder):
        return _make_or_open(folder, identity, make_block, on_rows)


def _make_or_open(
    folder: Path,
    identity: dict[str, Any],
    make_block: Callable[[range], Block],
    on_rows: Callable[[int, int], None] | None,
) -> tuple[Float[np.ndarray, "rows dim"], dict[int, str]]:
    """Make the rows, unless they were made before or while the folder was waited for."""
    num_rows = identity["num_rows"]
    if (folder / MANIFEST).exists():
        manifest = read_manifest(folder / MANIFEST)
        check_identity(folder, manifest, identity)
        _drop_blocks(folder)
        return _open(folder, num_rows, manifest.get(CHECKSUM)), _reasons(folder, manifest)
    if (folder / BUILDING).exists():
        check_identity(folder, read_manifest(folder / BUILDING), identity)
    else:
        write_json(folder / BUILDING, identity)
    blocks = [
        range(first, min(first + BLOCK_ROWS, num_rows)) for first in range(0, num_rows, BLOCK_ROWS)
    ]
    for block in blocks:
        if not (path := _block_path(folder, block)).exists():
            _write_block(path, *make_block(block))
        if on_rows:
            on_rows(block.stop, num_rows)
    return _join(folder, blocks, identity)


def _block_path(folder: Path, block: range) -> Path:
    return folder / f"block-{block.start:09d}.npz"


def _write_block(path: Path, rows: Float[np.ndarray, "rows dim"], reasons: dict[int, str]) -> None:
    notes = np.frombuffer(json.dumps(reasons).encode(), dtype=np.uint8)
    with write_aside(path) as aside, aside.open("wb") as file:
        np.savez(file, allow_pickle=False, rows=rows, reasons=notes)


def _join(
    folder: Path, blocks: list[range], identity: dict[str, Any]
) -> tuple[Float[np.ndarray, "rows dim"], dict[int, str]]:
    """Put the blocks together, one in memory at a time, then drop them."""
    reasons: dict[int, str] = {}
    num_rows = identity["num_rows"]
    first, _ = _read_block(_block_path(folder, blocks[0]), len(blocks[0]))
    shape = (num_rows, *first.shape[1:])
    with write_array(folder / ROWS, shape=shape, dtype=first.dtype) as append:
        for block in blocks:
            rows, notes = _read_block(_block_path(folder, block), len(block))
            append(rows)
            reasons |= notes
    checksum = file_crc32(folder / ROWS)
    write_json(folder / MANIFEST, {**identity, "reasons": reasons, CHECKSUM: checksum})
    _drop_blocks(folder)
    return _open(folder, num_rows, checksum), reasons


def _drop_blocks(folder: Path) -> None:
    """Remove what only an unfinished cache needs; the file that says so comes last."""
    if (folder / BUILDING).exists():
        for path in folder.glob("block-*.npz"):
            path.unlink()
        drop_asides(folder)
        (folder / BUILDING).unlink()


def _read_block(path: Path, num_rows: int) -> Block:
    arrays = read_arrays(path, hint=" Delete it to make it again.")
    try:
        rows, notes = arrays["rows"], json.loads(arrays["reasons"].tobytes())
        reasons = {int(row): str(why) for row, why in notes.items()}
    except (AttributeError, KeyError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}. Delete it to make it again.") from error
    if len(rows) != num_rows:
        raise DataError(f"{path} holds {len(rows)} rows instead of {num_rows}; delete it.")
    return rows, reasons


def _open(folder: Path, num_rows: int, checksum: int | None) -> Float[np.ndarray, "rows dim"]:
    path = folder / ROWS
    rows = open_array(path, checksum=checksum, hint=f" Delete {folder}.")
    if len(rows) != num_rows:
        raise DataError(f"{path} holds {len(rows)} rows instead of {num_rows}; delete {folder}.")
    return rows


def _reasons(folder: Path, manifest: dict[str, Any]) -> dict[int, str]:
    try:
        reasons = {int(row): str(why) for row, why in manifest["reasons"].items()}
    except (AttributeError, KeyError, ValueError) as error:
        raise DataError(f"{folder / MANIFEST} is damaged: {error!r}. Delete {folder}.") from error
    if beyond := [row for row in reasons if not 0 <= row < manifest["num_rows"]]:
        raise DataError(f"{folder / MANIFEST} is damaged: it has no row {beyond[0]}.")
    return reasons
