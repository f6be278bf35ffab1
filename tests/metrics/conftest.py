"""Scores of several kinds, for comparison with scikit-learn."""

from collections.abc import Callable

import numpy as np
import pytest

Scores = tuple[np.ndarray, np.ndarray]


def _normal(generator: np.random.Generator) -> Scores:
    return generator.normal(1, 1, 700), generator.normal(0, 2, 1100)


def _tied(generator: np.random.Generator) -> Scores:
    return generator.integers(0, 9, 400) / 4, generator.integers(-3, 6, 300) / 4


def _close_to_one(generator: np.random.Generator) -> Scores:
    """As the largest probability of many images is: 1, or the next numbers below."""
    return tuple(1 - np.exp(-generator.exponential(rate, 500)) for rate in (40, 20))


def _large_integers(generator: np.random.Generator) -> Scores:
    """Neighbours at the end of what float64 counts, and float32 does not tell apart."""
    return tuple(2.0**53 - generator.integers(1, high, 300) for high in (40, 60))


FAMILIES: dict[str, Callable[[np.random.Generator], Scores]] = {
    "normal": _normal,
    "tied": _tied,
    "close to one": _close_to_one,
    "large integers": _large_integers,
    "constant": lambda _: (np.full(30, 0.25), np.full(50, 0.25)),
    "separable": lambda generator: (generator.uniform(1, 2, 90), generator.uniform(-2, 0, 40)),
    "the wrong way round": lambda generator: (generator.random(90) - 1, generator.random(40)),
    "negative": lambda generator: (-generator.exponential(1, 200), -generator.exponential(3, 200)),
    "tiny": lambda generator: (
        generator.integers(0, 50, 200) * 5e-324,
        generator.integers(0, 30, 99) * 5e-324,
    ),
    "huge": lambda generator: (generator.normal(0, 1e307, 100), generator.normal(0, 1e307, 100)),
    "both zeros": lambda _: (np.array([0.0, -0.0, 1.0]), np.array([-0.0, 0.0, -1.0])),
    "one of each": lambda _: (np.array([0.5]), np.array([0.25])),
    "one against many": lambda generator: (np.array([0.5]), generator.random(64)),
    "float32": lambda generator: tuple(part.astype(np.float32) for part in _normal(generator)),
    "float16": lambda generator: tuple(part.astype(np.float16) for part in _normal(generator)),
}


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> Scores:
    """ID and OOD scores of one kind."""
    return FAMILIES[request.param](np.random.default_rng(0))
