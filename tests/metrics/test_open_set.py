"""Accuracy on known classes and the harmonic mean."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score

from clipn.metrics import h_score, id_accuracy, open_set_h

shares = st.integers(0, 1000).map(lambda count: count / 1000)


def test_accuracy_is_scikit_learns():
    generator = np.random.default_rng(0)
    predicted, labels = generator.integers(0, 3, 100), generator.integers(0, 3, 100)
    assert id_accuracy(predicted, labels) == accuracy_score(labels, predicted)


def test_a_label_that_no_class_has_is_never_right():
    assert id_accuracy(np.array([0, 1]), np.array([-1, 1])) == 0.5


@settings(deadline=None)
@given(shares, shares)
def test_h_lies_between_the_two_and_is_drawn_to_the_lower(first: float, second: float):
    h = h_score(first, second)
    low, high = min(first, second), max(first, second)
    assert h == h_score(second, first)
    assert low * (1 - 1e-9) <= h <= high * (1 + 1e-9)
    assert h <= 2 * low * (1 + 1e-9)


def test_h_of_precision_and_recall_would_be_f1():
    truth, answer = np.array([1, 1, 1, 0, 0]), np.array([1, 1, 0, 1, 0])
    assert h_score(2 / 3, 2 / 3) == pytest.approx(f1_score(truth, answer))
    assert h_score(0.8, 0.4) == pytest.approx(2 / (1 / 0.8 + 1 / 0.4))


def test_h_at_the_edges():
    assert h_score(0.0, 0.0) == 0.0
    assert h_score(1.0, 0.0) == 0.0
    assert h_score(1.0, 1.0) == 1.0


def test_open_set_h_pools_images():
    known, unknown = np.array([True, True, False, False]), np.array([True])
    assert open_set_h(known, unknown) == h_score(0.5, 1.0)
    assert open_set_h(~known, ~unknown) == 0.0


@pytest.mark.parametrize(
    ("name", "shares"), [("known_accuracy", (95, 0.5)), ("unknown_refused", (0.5, -1))]
)
def test_what_is_no_share_is_refused(name: str, shares: tuple[float, float]):
    with pytest.raises(ValueError, match=rf"{name} must be a share, in \[0, 1\]; got"):
        h_score(*shares)


def test_sets_without_an_image_are_refused():
    none, some = np.array([], dtype=bool), np.array([True])
    with pytest.raises(ValueError, match="known_correct must have one axis"):
        open_set_h(none, some)
    with pytest.raises(ValueError, match="unknown_refused must have one axis"):
        open_set_h(some, none)
    with pytest.raises(ValueError, match="predicted == labels must have one axis"):
        id_accuracy(np.array([], dtype=int), np.array([], dtype=int))
