"""Class banks: one yes embedding and one no embedding for every class name."""

from collections.abc import Sequence
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


def check_class_names(names: Sequence[str]) -> tuple[str, ...]:
    """Return class names without surrounding space, or say which of them is wrong.

    Args:
        names: At least one name; none empty, none twice (capitals and spaces do not tell two
            apart).

    Raises:
        TypeError: If a single string is given, or a name is not a string.
        ValueError: If there is none, one is empty, or one occurs twice.

    Example:
        >>> check_class_names(["tabby cat ", "espresso"])
        ('tabby cat', 'espresso')
    """
    if isinstance(names, str):
        raise TypeError(f"Class names must be a sequence of strings; got the string {names!r}.")
    checked: dict[str, str] = {}
    for position, name in enumerate(names):
        if not isinstance(name, str):
            raise TypeError(f"Class name {position} must be a string; got {name!r}.")
        key = " ".join(name.split()).casefold()
        if not key:
            raise ValueError(f"Class name {position} is empty; got {name!r}.")
        if key in checked:
            raise ValueError(f"Class name {name!r} occurs twice (also as {checked[key]!r}).")
        checked[key] = name.strip()
    if not checked:
        raise ValueError("At least one class name is needed; got none.")
    return tuple(checked.values())
