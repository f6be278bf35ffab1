"""How far a run is, and what it has counted."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from clipn.batch.plan import Plan
from clipn.batch.scorer import PartitionCount

__all__ = ["Progress", "Tally"]


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a run is."""

    num_partitions: int
    """Partitions in all."""

    num_done: int
    """Partitions that are done, those of former starts included."""

    num_images: int
    """Images that are done."""

    num_failed: int
    """Of them those with an error."""

    images_per_second: float
    """Since this start."""

    seconds_left: float | None
    """By what is left to be read; None before this start has done anything."""


class Tally:
    """Adds up what became of partitions.

    Args:
        plan: What is to be done.
        on_progress: Called whenever a partition is done.
    """

    def __init__(self, plan: Plan, on_progress: Callable[[Progress], None] | None) -> None:
        self._bytes = [partition.num_bytes for partition in plan.partitions]
        self._on_progress = on_progress
        self._began = time.monotonic()
        self._new_images = self._new_bytes = self._bytes_done = 0
        self.num_done = self.num_in = self.num_out = self.num_failed = 0

    def add(self, count: PartitionCount, *, is_new: bool) -> None:
        """Add a partition.

        Args:
            count: What became of it.
            is_new: Whether it was made since this start.
        """
        self.num_done += 1
        self.num_in += count.num_in
        self.num_out += count.num_out
        self.num_failed += count.num_failed
        num_bytes = max(1, self._bytes[count.partition])
        self._bytes_done += num_bytes
        if is_new:
            self._new_images += count.num_out
            self._new_bytes += num_bytes
            if self._on_progress is not None:
                self._on_progress(self.progress())

    def progress(self) -> Progress:
        """How far the run is."""
        seconds = max(time.monotonic() - self._began, 1e-9)
        left = sum(max(1, size) for size in self._bytes) - self._bytes_done
        return Progress(
            num_partitions=len(self._bytes),
            num_done=self.num_done,
            num_images=self.num_out,
            num_failed=self.num_failed,
            images_per_second=self._new_images / seconds,
            seconds_left=left * seconds / self._new_bytes if self._new_bytes else None,
        )
