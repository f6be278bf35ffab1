import re

import numpy as np
import pytest

from clipn.metrics import auroc, risk_at_coverage
from clipn.report.charts import (
    NUM_POINTS,
    histograms,
    reliability_plot,
    risk_plot,
    risk_points,
    roc_plot,
    roc_points,
)
from clipn.report.plots import BOTTOM, TOP


@pytest.fixture
def scores():
    generator = np.random.default_rng(0)
    return generator.normal(size=5000), generator.normal(size=3000) - 1.5


def _heights(path: str) -> np.ndarray:
    """Heights of a histogram's bins above the base line."""
    return BOTTOM - np.array([float(up) for up in re.findall(r"V([\d.]+)H", path)])


def _bin_shares(plot) -> dict[str, np.ndarray]:
    scale = (plot.y.high - plot.y.low) / (BOTTOM - TOP)
    return {curve.style: _heights(curve.path) * scale for curve in plot.curves}


def test_the_bins_of_a_histogram_hold_all_images_of_a_set(scores):
    inside, outside = scores

    (plot,) = histograms({"a": inside}, {"a": outside}, score="msp")

    for shares in _bin_shares(plot).values():
        assert len(shares) == 40
        assert shares.sum() == pytest.approx(1, abs=0.02)


def test_a_bin_is_as_high_as_its_share_of_the_images():
    low, high = np.array([0.0, 0.0, 0.0, 1.0]), np.array([1.0, 1.0])

    (plot,) = histograms({"a": high}, {"a": low}, score="msp")

    shares = _bin_shares(plot)
    assert shares["area ood"][[0, -1]] == pytest.approx([0.75, 0.25], abs=0.01)
    assert shares["area id"][[0, -1]] == pytest.approx([0, 1], abs=0.01)


def test_a_single_stray_image_does_not_stretch_the_axis(scores):
    inside, outside = scores

    (plot,) = histograms({"a": np.append(inside, 1e9)}, {"a": outside}, score="energy")

    assert plot.x.high < 4
    assert _bin_shares(plot)["area id"].sum() == pytest.approx(1, abs=0.02)


def test_histograms_of_all_sets_share_their_axes(scores):
    inside, outside = scores

    first, second = histograms(
        {"a": inside, "b": inside + 1}, {"a": outside, "b": outside - 3}, score="energy"
    )

    assert (first.x, first.y) == (second.x, second.y)


@pytest.mark.parametrize(
    ("values", "ends"), [([0.01, 0.5, 0.97], (0, 1)), ([0.1, 0.11, 0.12], (0.1, 0.12))]
)
def test_probabilities_that_fill_their_range_are_shown_on_all_of_it(values, ends):
    (plot,) = histograms({"a": np.array(values)}, {"a": np.array(values)}, score="msp")

    assert (plot.x.low, plot.x.high) == pytest.approx(ends, abs=1e-3)


def test_a_thinned_roc_curve_keeps_its_ends_and_its_area(scores):
    inside, outside = scores

    points = roc_points(inside, outside)

    assert len(points) <= NUM_POINTS
    assert points[[0, -1]].tolist() == [[0, 0], [1, 1]]
    assert (np.diff(points, axis=0) >= 0).all()
    assert np.trapezoid(points[:, 1], points[:, 0]) == pytest.approx(
        auroc(inside, outside), abs=1e-3
    )


def test_a_roc_curve_under_ties_is_slanted_not_stepped():
    assert roc_points(np.ones(3), np.ones(5)).tolist() == [[0, 0], [1, 1]]


def test_risk_is_the_share_of_errors_at_each_coverage(scores):
    inside, _ = scores
    is_right = np.random.default_rng(1).random(5000) < 1 / (1 + np.exp(-inside))

    points = risk_points(inside, is_right)

    assert len(points) <= NUM_POINTS
    assert points[-1].tolist() == [1, 1 - is_right.mean()]
    for coverage, risk in points[::20]:
        assert risk == pytest.approx(risk_at_coverage(is_right, inside, coverage=coverage))


def test_images_of_one_score_are_kept_together():
    points = risk_points(np.array([0.5, 0.5, 0.1]), np.array([True, False, True]))

    assert points == pytest.approx(np.array([[2 / 3, 1 / 2], [1, 1 / 3]]))


def test_the_risk_of_a_handful_of_images_is_not_drawn():
    is_right = np.arange(1000) > 0  # the most certain answer is the only wrong one

    points = risk_points(-np.arange(1000.0), is_right)

    assert points[0].tolist() == [0.021, 1 / 21]
    assert risk_plot({"msp": points}, {"msp": "k0"}).y.high == pytest.approx(0.05)


def test_the_first_curve_is_drawn_last_on_top():
    points = np.array([[0.0, 0.0], [1.0, 1.0]])

    plot = roc_plot("noise", {"best": points, "worse": points}, {"best": "k4", "worse": "k1"})

    assert [curve.style for curve in plot.curves] == ["line k1", "line k4"]
    assert [mark.y for mark in plot.marks] == [0.95]


def test_the_diagonal_is_drawn_for_probabilities_only():
    scores, is_right = np.linspace(0, 1, 50), np.arange(50) >= 25

    assert _styles(reliability_plot(scores, is_right, score="msp")) == ["ideal", "line id"]
    assert _styles(reliability_plot(30 * scores, is_right, score="energy")) == ["line id"]


def _styles(plot) -> list[str]:
    return [curve.style for curve in plot.curves]


def test_reliability_has_a_dot_for_each_tenth_of_the_images():
    scores, is_right = np.linspace(0, 1, 100), np.arange(100) >= 50

    plot = reliability_plot(scores, is_right, score="msp")

    assert [up for _, up in plot.dots] == [BOTTOM] * 5 + [TOP] * 5
    assert "0 % at 0.04545" in plot.description
