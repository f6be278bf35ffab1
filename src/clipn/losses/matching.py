"""Which pairs of a batch belong together though they are different pairs."""

from typing import NamedTuple

import torch  # noqa: F401  (for the example)
from jaxtyping import Bool, Int
from torch import Tensor

from clipn import distributed


class PairKeys(NamedTuple):
    """What pairs are told apart by.

    Attributes:
        captions: Equal where captions are equal.
        classes: Equal where classes are equal; negative where the class is not known.
    """

    captions: Int[Tensor, " batch"]
    classes: Int[Tensor, " batch"]

    def gather(self) -> "PairKeys":
        """The keys of all ranks, in rank order."""
        return PairKeys(distributed.gather(self.captions), distributed.gather(self.classes))

    def part(self, which: slice | Int[Tensor, " some"]) -> "PairKeys":
        """The keys of some of the pairs."""
        return PairKeys(self.captions[which], self.classes[which])


def match_pairs(own: PairKeys, others: PairKeys) -> Bool[Tensor, "own others"]:
    """Find the pairs that belong together: the same caption, or the same class.

    ITBO takes different pairs for opposites, which captions made from class labels are not.

    Args:
        own: Keys of some pairs, one a row.
        others: Keys of the pairs that they are compared with, one a column.

    Example:
        >>> keys = PairKeys(torch.tensor([7, 8, 7]), torch.tensor([-1, -1, -1]))
        >>> match_pairs(keys.part(slice(0, 1)), keys).tolist()
        [[True, False, True]]
    """
    is_same_caption = own.captions[:, None] == others.captions[None, :]
    is_same_class = own.classes[:, None] == others.classes[None, :]
    return is_same_caption | (is_same_class & (own.classes >= 0)[:, None])
