"""Linear layers in float32 on CPUs, through the faster of the two libraries that PyTorch brings.

PyTorch leaves float32 products on CPUs to MKL, which has no AVX-512 kernels for processors that are
not Intel's. oneDNN has them for all, and PyTorch's builds contain it, but ask it for other types
only. Both compute in float32; how much there is to gain is measured in `docs/performance.md`.
"""

from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

# Multiplications below which a call is cheaper left to PyTorch.
MIN_SIZE = 1 << 21


def linear(
    x: Float[Tensor, "... inputs"],
    weight: Float[Tensor, "outputs inputs"],
    bias: Float[Tensor, " outputs"] | None = None,
) -> Float[Tensor, "... outputs"]:
    """A linear layer, x W^T + b, with its gradient: `torch.nn.functional.linear`, often faster.

    Args:
        x: What goes in.
        weight: W.
        bias: b.

    Example:
        >>> linear(torch.ones(2, 3), torch.eye(3)).tolist()
        [[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]]
    """
    is_left_to_pytorch = (
        torch.compiler.is_compiling()  # also while exporting: a graph is for other machines
        or x.numel() * len(weight) < MIN_SIZE
        or x.device.type != "cpu"
        or not x.dtype == weight.dtype == torch.float32
        or torch.is_autocast_enabled("cpu")
        or not is_onednn_faster()
    )
    if is_left_to_pytorch:
        return F.linear(x, weight, bias)
    return _OneDnnLinear.apply(x, weight, bias)  # pyright: ignore[reportReturnType]


@lru_cache(maxsize=1)
def is_onednn_faster() -> bool:
    """Whether this machine's float32 products go through oneDNN.

    It depends on processor and build alone, not on a measurement, so that a run that goes on after
    an interruption computes the same bits.
    """
    return (
        torch.backends.mkldnn.is_available()
        and torch.backends.cpu.get_cpu_capability() == "AVX512"
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    )


def _multiply(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """The product x W^T + b by oneDNN; it takes transposed weights as they lie in memory."""
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


class _OneDnnLinear(torch.autograd.Function):
    """A linear layer by oneDNN, to which PyTorch gives no gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """The product x W^T + b."""
        of_x, of_weight, _ = ctx.needs_input_grad
        ctx.save_for_backward(x if of_weight else None, weight if of_x else None)
        return _multiply(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Gradients of x, W and b, each where it is asked for."""
        x, weight = ctx.saved_tensors
        rows = grad.flatten(0, -2)
        of_x, of_weight, of_bias = ctx.needs_input_grad
        return (
            _multiply(grad, weight.T) if of_x else None,
            _multiply(rows.T, x.flatten(0, -2).T) if of_weight else None,
            rows.sum(dim=0) if of_bias else None,
        )
