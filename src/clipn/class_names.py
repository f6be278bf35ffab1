"""Class names that a person typed, checked."""

from collections.abc import Sequence

__all__ = ["check_class_names"]


def check_class_names(names: Sequence[str]) -> tuple[str, ...]:
    """Return class names without surrounding space, or say which of them is wrong.

    Args:
        names: At least one name; none empty, none twice (capitals and spaces do not tell two
            apart).

    Raises:
        TypeError: If a single string is given, or a name is not a string.
        ValueError: If there is none, one is empty or no UTF-8 text, or one occurs twice.

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
        try:
            name.encode()
        except UnicodeEncodeError:
            raise ValueError(f"Class name {position} is no UTF-8 text; got {name!r}.") from None
        key = " ".join(name.split()).casefold()
        if not key:
            raise ValueError(f"Class name {position} is empty; got {name!r}.")
        if key in checked:
            raise ValueError(f"Class name {name!r} occurs twice (also as {checked[key]!r}).")
        checked[key] = name.strip()
    if not checked:
        raise ValueError("At least one class name is needed; got none.")
    return tuple(checked.values())
