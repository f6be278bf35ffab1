"""One process at a time in a folder that is being written."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from clipn.errors import ClipnError

__all__ = ["hold_folder"]

log = logging.getLogger(__name__)

LOCK = "lock"


@contextmanager
def hold_folder(folder: Path, *, refusal: ClipnError | None = None) -> Iterator[None]:
    """Keep other processes out of a folder, by a lock that ends with this process.

    Whoever waited must look again at what the folder holds: it may be finished.

    Args:
        folder: Made if missing. A lock file lies in it meanwhile.
        refusal: Raised where another process holds the folder; None waits for its end and says so.

    Raises:
        ClipnError: `refusal`.
        OSError: If no file can be made in the folder.
    """
    # Imported here because most commands lock nothing.
    import filelock

    folder.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        if refusal is not None:
            raise refusal from None
        log.warning("%s is being made by another process; waiting for its end", folder)
        lock.acquire()
    try:
        yield
    finally:
        # Whoever waits for the file that is gone notices it, and makes another.
        (folder / LOCK).unlink(missing_ok=True)
        lock.release()
