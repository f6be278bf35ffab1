"""Partitions made by a Ray cluster: Ray Data schedules, restarts and scales the workers."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import ray
import ray.data
import ray.exceptions

from clipn.batch.scorer import PartitionCount, PartitionScorer, WorkerOptions
from clipn.errors import ClipnError, DataError

__all__ = ["RayEngine"]


@dataclass(frozen=True, kw_only=True)
class RayEngine:
    """Actors of a Ray cluster, each of which holds the model and makes one partition at a time.

    Nothing but numbers of partitions and counts travels through the cluster: actors read the input
    and write the output themselves, so every node must reach both.

    Raises:
        ValueError: If a number is out of range.
    """

    address: str | None = None
    """Of the cluster: "auto", "ray://HOST:10001", ...; without one, a cluster that this program has
    joined is used, or else one is started on this machine and shut down in the end."""

    min_workers: int = 1
    """How many actors there are at least; the run waits until the cluster can hold them."""

    max_workers: int = 1
    """Up to how many there may be, as the cluster grows."""

    num_cpus: float = 1
    """Processors that each reserves."""

    num_gpus: float = 0
    """GPUs that each reserves; a fraction lets several share one."""

    worker: WorkerOptions = field(default_factory=WorkerOptions)
    """How each works."""

    def __post_init__(self) -> None:
        if not 1 <= self.min_workers <= self.max_workers:
            raise ValueError(
                "min_workers must be at least 1 and at most max_workers; got "
                f"{self.min_workers} and {self.max_workers}."
            )
        for name, value in (("num_cpus", self.num_cpus), ("num_gpus", self.num_gpus)):
            if value < 0:
                raise ValueError(f"{name} must not be negative; got {value}.")

    def run(self, output: str, partitions: Sequence[int]) -> Iterator[PartitionCount]:
        """Make partitions; see `Engine.run`.

        An actor that is lost with its node is started elsewhere, and its partition made again.

        Raises:
            DataError: If a partition cannot be made, or the cluster is gone.
        """
        is_own = not ray.is_initialized()
        if is_own:
            ray.init(
                address=self.address,
                include_dashboard=False if self.address is None else None,
                log_to_driver=False,
                logging_level=logging.WARNING,
            )
        try:
            yield from self._run(output, partitions)
        except ray.exceptions.RayError as error:
            cause = getattr(error, "cause", None)
            if isinstance(cause, ClipnError | OSError):
                raise cause from error
            raise DataError(
                f"The Ray cluster cannot go on: {error}. What is done is kept; start again."
            ) from error
        finally:
            if is_own:
                ray.shutdown()

    def _run(self, output: str, partitions: Sequence[int]) -> Iterator[PartitionCount]:
        logging.getLogger("ray.data").setLevel(logging.WARNING)
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        items = [{"partition": number} for number in partitions]
        # A block each, so that every partition is scheduled on its own. The items come from here,
        # and not from tasks that read, which would wait for a processor that an actor has taken.
        counts = ray.data.from_items(items, override_num_blocks=len(items)).map_batches(
            _PartitionMaker,
            batch_size=1,
            fn_constructor_args=(output, self.worker),
            compute=ray.data.ActorPoolStrategy(
                min_size=self.min_workers,
                max_size=self.max_workers,
                # One at work and one waiting: more would keep the last ones from idle actors.
                max_tasks_in_flight_per_actor=2,
            ),
            num_cpus=self.num_cpus,
            num_gpus=self.num_gpus,
        )
        for row in counts.iter_rows():
            yield PartitionCount(**{name: int(value) for name, value in row.items()})


class _PartitionMaker:
    """What lives in an actor."""

    def __init__(self, output: str, options: WorkerOptions) -> None:
        self._scorer = PartitionScorer(output, options)

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, Any]:
        """Make the partitions of a batch."""
        counts = [asdict(self._scorer(int(number))) for number in batch["partition"]]
        return {name: np.array([count[name] for count in counts]) for name in counts[0]}
