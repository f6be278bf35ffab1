"""Risk at a coverage beside every order of equally confident images."""

from itertools import permutations

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipn.metrics import area_under_risk_coverage, risk_at_coverage


@st.composite
def answers(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Whether each answer is right, and few distinct confidences."""
    size = draw(st.integers(1, 40))
    correct = draw(hnp.arrays(np.bool_, size))
    return correct, draw(hnp.arrays(np.float64, size, elements=st.integers(-2, 2).map(float)))


def _risks_over_all_orders(correct: np.ndarray, confidence: np.ndarray) -> np.ndarray:
    """Mean risk of the first 1, 2, ... images over all orders of falling confidence."""
    orders = [list(order) for order in permutations(range(len(correct)))]
    falling = [order for order in orders if (np.diff(confidence[order]) <= 0).all()]
    counts = np.arange(1, len(correct) + 1)
    return np.mean([np.cumsum(~correct[order]) / counts for order in falling], axis=0)


@pytest.mark.parametrize("seed", range(6))
def test_equally_confident_images_count_as_over_all_their_orders(seed: int):
    generator = np.random.default_rng(seed)
    correct, confidence = generator.random(6) < 0.5, generator.integers(0, 3, 6) / 2
    expected = _risks_over_all_orders(correct, confidence)
    for num_answered, risk in enumerate(expected, start=1):
        coverage = num_answered / 6
        figure = risk_at_coverage(correct, confidence, coverage=coverage)
        assert figure == pytest.approx(risk, abs=1e-12)
    area = area_under_risk_coverage(correct, confidence)
    assert area == pytest.approx(expected.mean(), abs=1e-12)


@settings(deadline=None)
@given(answers())
def test_the_area_is_the_mean_risk_over_all_coverages(answered: tuple[np.ndarray, np.ndarray]):
    correct, confidence = answered
    size = len(correct)
    risks = [risk_at_coverage(correct, confidence, coverage=(k + 1) / size) for k in range(size)]
    assert area_under_risk_coverage(*answered) == pytest.approx(np.mean(risks), abs=1e-12)
    assert risks[-1] == pytest.approx(1 - correct.mean(), abs=1e-12)


@settings(deadline=None)
@given(answers())
def test_a_monotone_transform_leaves_the_risk(answered: tuple[np.ndarray, np.ndarray]):
    correct, confidence = answered
    assert risk_at_coverage(correct, np.exp(confidence)) == risk_at_coverage(*answered)
    area = area_under_risk_coverage(correct, np.exp(confidence))
    assert area == area_under_risk_coverage(*answered)


def test_risks_by_hand():
    correct = np.array([False, True, True, True, False])
    confidence = np.array([0.1, 0.9, 0.8, 0.7, 0.6])
    assert risk_at_coverage(correct, confidence, coverage=0.6) == 0.0
    assert risk_at_coverage(correct, confidence, coverage=0.61) == 0.25
    assert risk_at_coverage(correct, confidence) == 0.25
    assert risk_at_coverage(correct, confidence, coverage=1.0) == 0.4
    assert area_under_risk_coverage(correct, confidence) == pytest.approx((1 / 4 + 2 / 5) / 5)


def test_the_best_and_the_worst_order():
    correct, rising = np.array([True, True, False, False]), np.arange(4.0)
    assert area_under_risk_coverage(correct, -rising) == pytest.approx((1 / 3 + 2 / 4) / 4)
    assert area_under_risk_coverage(correct, rising) == pytest.approx((1 + 1 + 2 / 3 + 1 / 2) / 4)
    assert area_under_risk_coverage(correct, np.zeros(4)) == pytest.approx(0.5)
    assert area_under_risk_coverage(correct | True, rising) == 0.0


@pytest.mark.parametrize("coverage", [0.0, 1.1, float("nan")])
def test_a_coverage_outside_of_its_range_is_refused(coverage: float):
    with pytest.raises(ValueError, match=r"coverage must lie in \(0, 1\]; got"):
        risk_at_coverage(np.array([True]), np.array([1.0]), coverage=coverage)


def test_missing_confidences_are_refused():
    correct = np.array([True, False])
    for metric in (risk_at_coverage, area_under_risk_coverage):
        with pytest.raises(ValueError, match="confidence must be finite; got 1 of 2"):
            metric(correct, np.array([1.0, np.nan]))
        with pytest.raises(ValueError, match="correct must have one axis"):
            metric(np.array([], dtype=bool), np.array([]))
