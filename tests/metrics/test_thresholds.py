"""Thresholds and FPR beside scikit-learn, SciPy, pytorch-ood, and every threshold there is."""

from fractions import Fraction

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_ood.metrics import functional as pytorch_ood
from scipy.interpolate import interp1d
from sklearn.metrics import roc_curve as sklearn_roc_curve

from clipn.metrics import fpr_at_tpr, threshold_at_tpr

Scores = tuple[np.ndarray, np.ndarray]

sizes = st.integers(1, 60)
tied = hnp.arrays(np.float64, sizes, elements=st.integers(-4, 4).map(float))
free = hnp.arrays(np.float64, sizes, elements=st.floats(-1e6, 1e6))
score_arrays = tied | free
percents = st.integers(1, 100)


def _smallest_fpr(inside: np.ndarray, outside: np.ndarray, percent: int) -> float:
    """By trying every threshold, with whole numbers only."""
    best = 1.0
    for threshold in np.concatenate([inside, outside]):
        num_kept = int((inside >= threshold).sum())
        if 100 * num_kept >= percent * inside.size:
            best = min(best, float((outside >= threshold).mean()))
    return best


@settings(deadline=None)
@given(score_arrays, score_arrays, percents)
def test_fpr_is_the_smallest_of_all_thresholds_that_keep_enough(
    inside: np.ndarray, outside: np.ndarray, percent: int
):
    tpr = percent / 100
    assert fpr_at_tpr(inside, outside, tpr=tpr) == _smallest_fpr(inside, outside, percent)
    ood_positive = fpr_at_tpr(inside, outside, tpr=tpr, positive="ood")
    assert ood_positive == _smallest_fpr(-outside, -inside, percent)


@pytest.mark.parametrize("tpr", [0.05, 0.5, 0.8, 0.95, 1.0])
def test_fpr_is_where_scikit_learns_curve_first_reaches_the_tpr(family: Scores, tpr: float):
    inside, outside = family
    is_id = np.repeat([1, 0], [inside.size, outside.size])
    scores = np.concatenate(family).astype(np.float64)
    for positive, labels, sign in (("id", is_id, 1), ("ood", 1 - is_id, -1)):
        fprs, tprs, _ = sklearn_roc_curve(labels, sign * scores, drop_intermediate=False)
        expected = fprs[np.argmax(tprs >= tpr)]
        figure = fpr_at_tpr(inside, outside, tpr=tpr, positive=positive)
        assert figure == pytest.approx(expected, abs=1e-12)


@settings(deadline=None)
@given(score_arrays, score_arrays, percents)
def test_the_interpolated_figure_is_scipys(inside: np.ndarray, outside: np.ndarray, percent: int):
    tpr = percent / 100
    is_id = np.repeat([1, 0], [inside.size, outside.size])
    scores = np.concatenate([inside, outside])
    for positive, labels, sign in (("id", is_id, 1), ("ood", 1 - is_id, -1)):
        fprs, tprs, _ = sklearn_roc_curve(labels, sign * scores)
        expected = float(interp1d(tprs, fprs)(tpr))
        figure = fpr_at_tpr(inside, outside, tpr=tpr, positive=positive, method="interpolated")
        assert figure == pytest.approx(expected, abs=1e-12)


def test_the_two_conventions_and_the_two_methods_by_hand():
    """Half of OOD lies above all of ID; the other half below all but one of it."""
    inside = np.array([1.0, 5.0, 6.0, 7.0])
    outside = np.array([2.0, 3.0, 8.0, 9.0])
    assert fpr_at_tpr(inside, outside, tpr=0.75) == 0.5
    assert fpr_at_tpr(inside, outside, tpr=0.5, positive="ood") == 0.25
    assert fpr_at_tpr(inside, outside, tpr=0.75, positive="ood") == 1.0
    # Of the points of TPR 3/4 the last, all OOD images kept, is the one to start from.
    assert fpr_at_tpr(inside, outside, tpr=0.875, method="interpolated") == 1.0
    # Half-way between keeping 9, 8 and keeping 9, 8, 7: no OOD image more.
    assert fpr_at_tpr(inside, outside, tpr=0.125, method="interpolated") == 0.5
    # Half-way between refusing 1, 2, 3, 5, 6, 7 and refusing 8 too: all ID images either way.
    half_way = fpr_at_tpr(inside, outside, tpr=0.625, positive="ood", method="interpolated")
    assert half_way == 1.0


def test_ood_positive_is_pytorch_oods_figure():
    generator = np.random.default_rng(0)
    inside, outside = generator.normal(1, 1, 300), generator.normal(0, 2, 200)
    is_known = torch.tensor([0] * inside.size + [-1] * outside.size)
    outlier_scores = torch.from_numpy(-np.concatenate([inside, outside]))
    expected = float(pytorch_ood.fpr_at_tpr(outlier_scores, is_known, 0.95))
    assert fpr_at_tpr(inside, outside, positive="ood") == pytest.approx(expected, abs=1e-12)
    assert abs(fpr_at_tpr(inside, outside) - expected) > 0.1


@settings(deadline=None)
@given(score_arrays, percents)
def test_the_threshold_keeps_enough_and_a_higher_one_does_not(inside: np.ndarray, percent: int):
    threshold = threshold_at_tpr(inside, tpr=percent / 100)
    needed = Fraction(percent, 100) * inside.size
    assert threshold in inside
    assert (inside >= threshold).sum() >= needed
    assert (inside > threshold).sum() < needed


@pytest.mark.parametrize("size", [20, 40, 100, 1000, 9960, 50_000, 1_000_000])
def test_a_share_that_is_a_whole_number_of_images_is_met_exactly(size: int):
    """0.95 * 20 is not quite 19 in floating point, and 0.07 * 100 is more than 7."""
    inside = np.arange(size, dtype=np.float64)
    for percent in (5, 7, 29, 55, 57, 58, 90, 95):
        if percent * size % 100 == 0:
            assert threshold_at_tpr(inside, tpr=percent / 100) == size - percent * size // 100


def test_a_share_that_was_added_up_is_the_number_it_stands_for():
    inside = np.arange(10.0)
    assert 0.1 + 0.2 > 0.3
    assert threshold_at_tpr(inside, tpr=0.1 + 0.2) == threshold_at_tpr(inside, tpr=0.3) == 7.0


def test_edges_of_the_share():
    inside, outside = np.array([1.0, 2.0, 3.0, 4.0]), np.array([0.0, 2.5, 3.5, 5.0])
    assert threshold_at_tpr(inside, tpr=1.0) == 1.0
    assert fpr_at_tpr(inside, outside, tpr=1.0) == 0.75
    for tiny in (1e-9, 1e-300):
        assert threshold_at_tpr(inside, tpr=tiny) == 4.0
        assert fpr_at_tpr(inside, outside, tpr=tiny) == 0.25
    assert threshold_at_tpr(inside, tpr=0.75) == 2.0
    assert threshold_at_tpr(inside, tpr=0.7500001) == 1.0
    assert threshold_at_tpr(inside) == 1.0


def test_ties_at_the_threshold_are_accepted():
    assert fpr_at_tpr(np.ones(4), np.array([1.0, 1.0, 0.0, 2.0])) == 0.75
    assert fpr_at_tpr(np.ones(4), np.zeros(3)) == 0.0
    assert fpr_at_tpr(np.array([1.0]), np.array([1.0])) == 1.0


def test_single_precision_scores_are_taken_as_they_are():
    inside, outside = np.float32([0.1, 0.2, 0.3]), np.float32([0.2, 0.05])
    assert threshold_at_tpr(inside, tpr=0.6) == float(np.float32(0.2))
    assert fpr_at_tpr(inside, outside, tpr=0.6) == 0.5


def test_the_scores_given_are_left_as_they_are():
    inside, outside = np.array([3.0, 1.0, 2.0]), np.array([2.0, 0.0, 5.0])
    for positive in ("id", "ood"):
        fpr_at_tpr(inside, outside, positive=positive)
    threshold_at_tpr(inside)
    assert (inside.tolist(), outside.tolist()) == ([3.0, 1.0, 2.0], [2.0, 0.0, 5.0])


@pytest.mark.parametrize("tpr", [0.0, -0.5, 1.0000001, 95.0, float("nan")])
def test_a_share_outside_of_its_range_is_refused(tpr: float):
    good = np.array([1.0, 2.0])
    with pytest.raises(ValueError, match=r"tpr must lie in \(0, 1\]; got"):
        threshold_at_tpr(good, tpr=tpr)
    for method in ("step", "interpolated"):
        with pytest.raises(ValueError, match=r"tpr must lie in \(0, 1\]; got"):
            fpr_at_tpr(good, good, tpr=tpr, method=method)


def test_no_threshold_is_made_of_missing_or_infinite_scores():
    bad, good = np.array([1.0, np.nan]), np.array([1.0, 2.0])
    for positive in ("id", "ood"):
        with pytest.raises(ValueError, match="id_scores must be finite; got 1 of 2"):
            fpr_at_tpr(bad, good, positive=positive)
        with pytest.raises(ValueError, match="ood_scores must be finite; got 1 of 2"):
            fpr_at_tpr(good, bad, positive=positive)
    with pytest.raises(ValueError, match="id_scores must hold at least one score; got none"):
        threshold_at_tpr(np.array([]))
