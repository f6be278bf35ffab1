"""Who makes the output files: processes of this machine, or a Ray cluster (`ray_engine`)."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from multiprocessing.connection import wait as wait_for_end
from typing import Protocol, runtime_checkable

from clipn.batch.scorer import PartitionCount, PartitionScorer, WorkerOptions
from clipn.errors import DataError

__all__ = ["Engine", "LocalEngine"]


@runtime_checkable
class Engine(Protocol):
    """Has partitions made, in any order; which engine it is changes no row."""

    def run(self, output: str, partitions: Sequence[int]) -> Iterator[PartitionCount]:
        """Make partitions.

        Args:
            output: The address of the output folder, which holds the plan.
            partitions: Their numbers.

        Yields:
            What became of each, as it is done.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class LocalEngine:
    """Processes of this machine; one is this process itself.

    Raises:
        ValueError: If a number is out of range.
    """

    num_processes: int = 1
    """Each holds the model and makes one partition at a time."""

    worker: WorkerOptions = field(default_factory=WorkerOptions)
    """How each works."""

    def __post_init__(self) -> None:
        if self.num_processes < 1:
            raise ValueError(f"num_processes must be at least 1; got {self.num_processes}.")

    def run(self, output: str, partitions: Sequence[int]) -> Iterator[PartitionCount]:
        """Make partitions; see `Engine.run`.

        Raises:
            ClipnError: If a partition cannot be made.
            DataError: Likewise if a process dies, as it does without memory.
        """
        if self.num_processes == 1:
            scorer = PartitionScorer(output, self.worker)
            yield from map(scorer, partitions)
            return
        executor = ProcessPoolExecutor(
            min(self.num_processes, len(partitions)),
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_start_worker,
            initargs=(output, self.worker),
        )
        try:
            yield from _in_any_order(executor, partitions, 2 * self.num_processes)
        except BrokenProcessPool as error:
            raise DataError(
                "A worker process has died, perhaps for want of memory; what is done is kept. "
                "Start again to go on, with fewer processes or smaller batches."
            ) from error
        finally:
            executor.shutdown(cancel_futures=True)


def _in_any_order(
    executor: ProcessPoolExecutor, partitions: Sequence[int], num_waiting: int
) -> Iterator[PartitionCount]:
    """Results as they come; only a few partitions are handed out ahead."""
    waiting: set[Future[PartitionCount]] = set()
    for number in partitions:
        waiting.add(executor.submit(_make_partition, number))
        if len(waiting) >= num_waiting:
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)
    while waiting:
        done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
        yield from (future.result() for future in done)


_scorers: list[PartitionScorer] = []
"""The one of this worker process."""


def _start_worker(output: str, options: WorkerOptions) -> None:
    """Load the model in a new worker process, which ends when its parent does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears of Ctrl-C too, and ends us
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _scorers.append(PartitionScorer(output, options))


def _end_with_parent() -> None:
    """A killed parent cannot say so: without this its workers would wait for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait_for_end([parent.sentinel])
    os._exit(1)


def _make_partition(number: int) -> PartitionCount:
    return _scorers[0](number)
