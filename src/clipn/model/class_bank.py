"""Class banks: one yes embedding and one no embedding for every class name."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class ClassBank:
    """The text side of a detector, computed once for a set of class names.

    Attributes:
        names: The class names, in the order of the rows.
        templates: What `yes` averages over (and `no`, where prompts are learned).
        yes: (classes, dim), L2-normalised.
        no: Likewise from the no tower; None for a plain CLIP.
    """

    names: tuple[str, ...]
    templates: tuple[str, ...]
    yes: Float[Tensor, "classes dim"]
    no: Float[Tensor, "classes dim"] | None
