"""Drawing images with replacement, and the interval that the figures of many draws span."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

Rows = list[Int[np.ndarray, " _"]]  # which rows of each set are taken


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A figure and what it is likely to lie between.

    Attributes:
        estimate: Of the images as they are.
        low: Lower end of the interval.
        high: Upper end.
    """

    estimate: float
    low: float
    high: float


def set_sizes(arrays: Sequence[np.ndarray]) -> tuple[int, ...]:
    """How many images there are in each set.

    Raises:
        ValueError: If there is no set, or one is empty.
    """
    sizes = tuple(len(array) for array in arrays)
    if not sizes or 0 in sizes:
        raise ValueError(f"There must be arrays, each with a row at least; got lengths {sizes}.")
    return sizes


def shared_sizes(first: Sequence[np.ndarray], second: Sequence[np.ndarray]) -> tuple[int, ...]:
    """The same, of two detectors that answered the same images.

    Raises:
        ValueError: If there is no set, one is empty, or their sizes differ.
    """
    sizes, others = set_sizes(first), set_sizes(second)
    if sizes != others:
        raise ValueError(
            f"Both detectors need the same images in the same order; got lengths {sizes} and "
            f"{others}."
        )
    return sizes


def intervals_of_draws(
    figures: Callable[[Rows], list[float]],
    sizes: tuple[int, ...],
    *,
    num_resamples: int,
    level: float,
    seed: int,
) -> list[Interval]:
    """The interval of each figure, computed from rows that are drawn from sets of these sizes.

    Raises:
        ValueError: If `num_resamples` is below 1 or `level` lies outside (0, 1).
    """
    if num_resamples < 1:
        raise ValueError(f"num_resamples must be at least 1; got {num_resamples}.")
    if not 0 < level < 1:
        raise ValueError(f"level must lie in (0, 1); got {level}.")
    generator = np.random.default_rng(seed)
    estimates = figures([np.arange(size) for size in sizes])
    resampled = [
        figures([generator.integers(size, size=size) for size in sizes])
        for _ in range(num_resamples)
    ]
    low, high = np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return [
        Interval(estimate=float(estimate), low=float(lower), high=float(upper))
        for estimate, lower, upper in zip(estimates, low, high, strict=True)
    ]
