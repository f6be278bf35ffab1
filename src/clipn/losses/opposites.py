"""The part of ITBO that compares every image with every caption, block by block.

Images and captions are compared a few rows at a time. What a block adds to the gradient is taken
while the block is there, in the forward pass, so that no matrix of all pairs is ever kept: memory
grows with the number of pairs and not with its square. Nothing is approximated.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from clipn.losses.matching import PairKeys, match_pairs
from clipn.products import linear

# Elements of a block: 64 MiB in float32. A few such matrices are held at once; the smaller they
# are, the more often the gradient of all captions is gone through.
BLOCK_SIZE = 1 << 24


@dataclass(frozen=True, kw_only=True)
class Opposites:
    """Which captions are opposite to which images, and how much each of them counts.

    Attributes:
        tau: Temperature.
        first: The column of the first image's own caption; that of the second is the next, ...
        own_keys: Keys of the images' pairs; None where no two pairs belong together.
        all_keys: Keys of the captions' pairs.
        hardness: How much more a caption counts the more it resembles the image.
        yes: Embeddings of the captions, which that likeness is taken from.
    """

    tau: float
    first: int = 0
    own_keys: PairKeys | None = None
    all_keys: PairKeys | None = None
    hardness: float = 0.0
    yes: Float[Tensor, "captions dim"] | None = None

    def mask(self, start: int, shape: torch.Size, device: torch.device) -> Bool[Tensor, "rows all"]:
        """Where a block has opposites.

        Args:
            start: Its first image.
            shape: Number of its images, and of all captions.
            device: Where to make it.
        """
        rows, _ = shape
        if self.own_keys is None or self.all_keys is None:
            is_opposite = torch.ones(shape, dtype=torch.bool, device=device)
        else:
            own = self.own_keys.part(slice(start, start + rows))
            is_opposite = ~match_pairs(own, self.all_keys)
        is_opposite.diagonal(self.first + start).fill_(False)
        return is_opposite

    def weigh(
        self, image: Float[Tensor, "rows dim"], is_opposite: Bool[Tensor, "rows all"]
    ) -> Float[Tensor, "rows all"] | None:
        """How much each opposite counts: each image's sum to 1; None where all count alike."""
        if not self.hardness:
            return None
        assert self.yes is not None
        likeness = linear(image, self.yes).mul_(self.hardness * self.tau)
        weights = likeness.masked_fill_(~is_opposite, -torch.inf).softmax(dim=1)
        # The softmax of a row without opposites is no number.
        return weights.masked_fill_(~is_opposite, 0.0)

    def count(self, is_opposite: Bool[Tensor, "rows all"]) -> Int[Tensor, ""]:
        """What the sum over a block's opposites is divided by: their number, or the images'."""
        return (is_opposite.any(dim=1) if self.hardness else is_opposite).sum()


def sum_over_opposites(
    image: Float[Tensor, "batch dim"],
    direction: Float[Tensor, "captions dim"],
    opposites: Opposites,
) -> tuple[Float[Tensor, ""], Int[Tensor, ""]]:
    """Sum w_ij softplus(-tau f_i.d_j) over all images i and the captions j opposite to them.

    Args:
        image: Image embeddings f.
        direction: From each caption's embedding to that of its "no", d = g^no - g.
        opposites: Which they are, and their weights w.

    Returns:
        The sum, and what makes a mean of it: the number of opposites, or with `hardness` of images
        that have any.
    """
    return _Sum.apply(image, direction, opposites)  # pyright: ignore[reportReturnType]


class _Sum(torch.autograd.Function):
    """The sum and, in the same pass, its gradient."""

    @staticmethod
    def forward(
        ctx: Any, image: Tensor, direction: Tensor, opposites: Opposites
    ) -> tuple[Tensor, Tensor]:
        """Sum up block by block, and keep the gradients where they are asked for."""
        of_image, of_direction, _ = ctx.needs_input_grad
        # (dim, captions): as the products give it, turned round once at the end
        direction_grad = torch.zeros_like(direction.T) if of_direction else None
        image_grads: list[Tensor] = []
        total = torch.zeros((), dtype=torch.float64, device=image.device)
        count = torch.zeros((), dtype=torch.long, device=image.device)
        num_rows = max(1, BLOCK_SIZE // len(direction))
        for start in range(0, len(image), num_rows):
            rows = image[start : start + num_rows]
            logits = linear(rows, direction).mul_(opposites.tau)
            is_opposite = opposites.mask(start, logits.shape, image.device)
            weights = opposites.weigh(rows, is_opposite)
            count += opposites.count(is_opposite)
            # What is no opposite gets a logit whose softplus and its slope are exactly 0.
            logits.masked_fill_(~is_opposite, torch.inf).neg_()
            terms = F.softplus(logits)
            total += (terms if weights is None else terms.mul_(weights)).sum(dtype=torch.float64)
            slope = logits.sigmoid_() if weights is None else logits.sigmoid_().mul_(weights)
            if direction_grad is not None:
                direction_grad -= linear(rows.T, slope.T)
            if of_image:
                image_grads.append(linear(slope, direction.T).mul_(-opposites.tau))
        ctx.mark_non_differentiable(count)
        ctx.save_for_backward(
            torch.cat(image_grads) if of_image else None,
            None if direction_grad is None else direction_grad.T.mul(opposites.tau),
        )
        return total.to(image.dtype), count

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, _count_grad: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The kept gradients, times that of the sum."""
        return *(None if kept is None else kept * grad for kept in ctx.saved_tensors), None
