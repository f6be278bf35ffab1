"""A batch of captions without its padding."""

from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Packing:
    """Where the tokens of captions are once they lie one after the other, the shortest first.

    Captions of one length then lie side by side, so that they can attend as a block without any
    padding, while all that acts on single tokens acts on all of them at once.

    Attributes:
        source: Where each packed token comes from, in the flattened (batch, length) tokens.
        groups: Number of captions and their length, for each length that occurs.
        ends: Where each caption ends among the packed tokens, the shortest caption first.
        order: The caption that each of `ends` belongs to.
    """

    source: Int[Tensor, " tokens"]
    groups: tuple[tuple[int, int], ...]
    ends: Int[Tensor, " batch"]
    order: Int[Tensor, " batch"]

    @property
    def sizes(self) -> list[int]:
        """Number of tokens of each group."""
        return [number * length for number, length in self.groups]


def pack(lengths: Int[Tensor, " batch"], *, context_length: int) -> Packing:
    """Lay captions one after the other.

    Args:
        lengths: Of the captions, in tokens; at least 1.
        context_length: Of the rows that they are padded to.

    Example:
        >>> packing = pack(torch.tensor([3, 1, 3]), context_length=4)
        >>> packing.groups, packing.source.tolist(), packing.ends.tolist()
        (((1, 1), (2, 3)), [4, 0, 1, 2, 8, 9, 10], [0, 3, 6])
    """
    order = lengths.argsort(stable=True)
    in_order = lengths[order]
    ends = in_order.cumsum(dim=0) - 1
    starts = ends - in_order + 1
    # From a packed token to its place: its caption starts there at a row, and here at `starts`.
    shift = (order * context_length - starts).repeat_interleave(in_order)
    different, counts = in_order.unique_consecutive(return_counts=True)
    return Packing(
        source=shift + torch.arange(len(shift), device=shift.device),
        groups=tuple(zip(counts.tolist(), different.tolist(), strict=True)),
        ends=ends,
        order=order,
    )
