"""What every metric asks of its arguments."""

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import ArrayLike

# A share such as 0.95 is no binary number: it is read as the nearest fraction this fine.
FINEST_SHARE = 10**9


def finite_scores(name: str, scores: ArrayLike) -> Float[np.ndarray, " any"]:
    """The scores in float64, or an error that names them.

    Raises:
        ValueError: If they are none, not a list of numbers, or one is NaN or infinite.
    """
    checked = np.asarray(scores, dtype=np.float64)
    if checked.ndim != 1:
        raise ValueError(f"{name} must have one axis, (images,); got shape {checked.shape}.")
    if checked.size == 0:
        raise ValueError(f"{name} must hold at least one score; got none.")
    num_finite = int(np.isfinite(checked).sum())
    if num_finite < checked.size:
        raise ValueError(
            f"{name} must be finite; got {checked.size - num_finite} of {checked.size} that are "
            "not. Leave out the images that have no score."
        )
    return checked


def flags(name: str, values: ArrayLike) -> Bool[np.ndarray, " any"]:
    """The truth values, or an error that names them.

    Raises:
        ValueError: If they are none, or not a list.
        TypeError: If they are not truth values.
    """
    checked = np.asarray(values)
    if checked.dtype != np.bool_:
        raise TypeError(f"{name} must hold truth values (bool); got {checked.dtype}.")
    if checked.ndim != 1 or checked.size == 0:
        raise ValueError(
            f"{name} must have one axis, (images,), and one value at least; "
            f"got shape {checked.shape}."
        )
    return checked


def check_same_length(**arrays: np.ndarray) -> None:
    """Refuse arrays that do not have a row for each image.

    Raises:
        ValueError: If their lengths differ.
    """
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        raise ValueError(f"A value an image is needed in each of {', '.join(lengths)}; {told}.")


def check_choice(name: str, choice: str, allowed: Sequence[str]) -> None:
    """Refuse a word that is none of those allowed.

    Raises:
        ValueError: If it is another.
    """
    if choice not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}; got {choice!r}.")


def num_to_keep(name: str, share: float, num_images: int) -> int:
    """The smallest number of images that is at least a share of them, one or more.

    Raises:
        ValueError: If `share` lies outside (0, 1].

    Example:
        >>> num_to_keep("tpr", 0.95, 5_000_000)  # 0.95 * 5_000_000 may be a hair more in float64
        4750000
    """
    if not 0 < share <= 1:
        raise ValueError(f"{name} must lie in (0, 1]; got {share}.")
    exact = Fraction(share).limit_denominator(FINEST_SHARE)
    return max(1, math.ceil(exact * num_images))
