"""What there is of disk and memory."""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

MEMINFO = Path("/proc/meminfo")


@dataclass(frozen=True, kw_only=True)
class DiskNeed:
    """What a run writes to a disk."""

    folder: Path
    """The first of the run's folders that lies there."""

    needed_bytes: int
    """The most that is there at once, besides what is there already."""

    free_bytes: int
    """What is free."""

    is_writable: bool
    """Whether files may be made there."""


def find_disks(needs: Mapping[Path, int]) -> tuple[DiskNeed, ...]:
    """See what each disk has free for what a run writes to it.

    Args:
        needs: Bytes by folder; the folders need not exist yet.

    Returns:
        A need for each disk, folders of one disk taken together.
    """
    disks: dict[int, DiskNeed] = {}
    for folder, num_bytes in needs.items():
        existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        device = existing.stat().st_dev
        other = disks.get(device)
        is_writable = existing.is_dir() and os.access(existing, os.W_OK)
        disks[device] = DiskNeed(
            folder=other.folder if other else folder,
            needed_bytes=num_bytes + (other.needed_bytes if other else 0),
            free_bytes=shutil.disk_usage(existing).free,
            is_writable=is_writable and (other is None or other.is_writable),
        )
    return tuple(disks.values())


def available_memory(device: str) -> int | None:
    """Memory that a new process can have, in bytes; None where the system does not tell.

    Args:
        device: "cpu" or "cuda".
    """
    if device == "cuda":
        return torch.cuda.mem_get_info()[1]
    try:
        lines = dict(line.split(":", 1) for line in MEMINFO.read_text().splitlines())
        return int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return None
