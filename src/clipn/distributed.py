"""What the training needs of several processes; with one process every function is the identity."""

import torch
import torch.distributed as dist
from jaxtyping import Num
from torch import Tensor


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

    If every rank computes the same loss from the gathered rows and the ranks' gradients are
    averaged (as `DistributedDataParallel` does), the result is the gradient of that loss in one
    process: the sum over the ranks here makes up for the average there.

    Args:
        rows: The rows of this rank; every rank has the same shape.

    Returns:
        world_size * batch rows.
    """
    if world_size() == 1:
        return rows
    return _GatherWithGradient.apply(rows)  # pyright: ignore[reportReturnType]


def wait_for_all() -> None:
    """Return when every rank has come here."""
    if world_size() > 1:
        dist.barrier()


def leave() -> None:
    """Part from the other ranks, to be called as a process ends.

    Threads of gloo that are still there when Python is taken down abort the process now and then,
    after all its work is done.
    """
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()
