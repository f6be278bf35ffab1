"""What several processes need of each other; with one process every function is the identity."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import lru_cache
from types import TracebackType
from typing import TypeVar

import torch
import torch.distributed as dist
from jaxtyping import Num
from torch import Tensor

from clipn.errors import RankError

Value = TypeVar("Value")

# How long a rank may be waited for: one may embed for hours while another has nothing to do, and
# the groups that gradients go through give up after minutes.
PATIENCE = timedelta(days=30)


def world_size() -> int:
    """The number of processes that train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """The number of this process, from 0."""
    return dist.get_rank() if world_size() > 1 else 0


class _GatherWithGradient(torch.autograd.Function):
    """All-gather forwards; backwards each rank gets the sum of what all ranks say of its rows."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, rows: Tensor) -> Tensor:
        """The rows of all ranks, in rank order."""
        gathered = [torch.empty_like(rows) for _ in range(world_size())]
        dist.all_gather(gathered, rows.contiguous())
        return torch.cat(gathered)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *grads: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """This rank's part of the sum of all ranks' gradients."""
        grad = grads[0].contiguous()
        dist.all_reduce(grad)
        return grad.tensor_split(world_size())[rank()]


def gather(rows: Num[Tensor, "batch ..."]) -> Num[Tensor, "global_batch ..."]:
    """Concatenate the rows of all ranks, in rank order, so that gradients flow back to their rank.

    If the loss is the mean of what the ranks compute from the gathered rows, and the ranks'
    gradients are averaged (as `DistributedDataParallel` does), the result is the gradient of that
    loss in one process: what all ranks say of a row is summed up here and averaged there.

    Args:
        rows: The rows of this rank; every rank has the same shape.

    Returns:
        world_size * batch rows.
    """
    if world_size() == 1:
        return rows
    return _GatherWithGradient.apply(rows)  # pyright: ignore[reportReturnType]


def total(value: Num[Tensor, "..."]) -> Num[Tensor, "..."]:
    """The sum over all ranks, without a gradient; every rank has to call it.

    Args:
        value: This rank's; of one shape on all ranks.
    """
    if world_size() == 1:
        return value
    summed = value.detach().clone()
    dist.all_reduce(summed)
    return summed


def exchange(value: Value) -> list[Value]:
    """Tell all ranks a value, and learn theirs; every rank has to call it.

    Args:
        value: Plain data; small, for it is not meant for tensors.

    Returns:
        The values of all ranks, in rank order.

    Raises:
        RankError: If a rank is gone.
    """
    if world_size() == 1:
        return [value]
    values: list[Value] = [value] * world_size()
    with notice_lost_ranks():
        dist.all_gather_object(values, value, group=_patient_group(dist.group.WORLD))
    return values


def largest(value: int) -> int:
    """The largest value of all ranks; every rank has to call it.

    Raises:
        RankError: If a rank is gone.
    """
    if world_size() == 1:
        return value
    found = torch.tensor(value)
    with notice_lost_ranks():
        dist.all_reduce(found, op=dist.ReduceOp.MAX, group=_patient_group(dist.group.WORLD))
    return int(found)


@contextmanager
def notice_lost_ranks() -> Iterator[None]:
    """Tell a block that breaks for want of another rank from one that breaks for itself.

    Raises:
        RankError: If a rank is gone.
    """
    try:
        yield
    except RuntimeError as error:
        # Gloo has no error class of its own for a connection whose other end is closed.
        if world_size() > 1 and (isinstance(error, dist.DistError) or "gloo" in str(error)):
            raise RankError(f"Another rank has gone, so rank {rank()} ends too: {error}") from error
        raise


@lru_cache(maxsize=1)
def _patient_group(_world: dist.ProcessGroup) -> dist.ProcessGroup:
    """A group of all ranks on their CPUs, whatever gradients go through; one a world."""
    group = dist.new_group(backend="gloo", timeout=PATIENCE)
    assert isinstance(group, dist.ProcessGroup)  # every rank belongs to it
    return group


class FailTogether:
    """A block of work after which each rank knows that all have done theirs.

    With it an error of one rank ends all of them, where the others would wait for it for ever: it
    comes out of its own rank as it is, and out of those without an error of their own as RankError.
    A rank that is done waits at the end of the block for the others, however long they take.

        with FailTogether():
            if rank() == 0:
                put_together(folder)

    Raises:
        RankError: If another rank failed or is gone.
    """

    def __enter__(self) -> None:
        """Begin the block."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Tell the others how it went."""
        if error is None:
            reports = exchange(None)
            failed = [f"Rank {rank}: {text}" for rank, text in enumerate(reports) if text]
            if failed:
                raise RankError(f"Ended because another rank failed. {' '.join(failed)}")
        elif isinstance(error, Exception):  # not where somebody stops this process
            with suppress(RankError):  # the error of its own says more
                exchange(str(error) or type(error).__name__)


def leave() -> None:
    """Part from the other ranks, to be called as a process ends.

    Threads of gloo that are still there when Python is taken down abort the process now and then,
    after all its work is done.
    """
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()
