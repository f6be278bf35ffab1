"""AUROC and FPR beside scikit-learn and beside every threshold there is."""

from fractions import Fraction

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from clipn.metrics import auroc, fpr_at_tpr, threshold_at_tpr

sizes = st.integers(1, 60)
tied = hnp.arrays(np.float64, sizes, elements=st.integers(-4, 4).map(float))
free = hnp.arrays(np.float64, sizes, elements=st.floats(-1e6, 1e6))
score_arrays = tied | free
shares = st.integers(1, 100).map(lambda percent: percent / 100)


@settings(deadline=None)
@given(score_arrays, score_arrays)
def test_auroc_is_scikit_learns(inside: np.ndarray, outside: np.ndarray):
    labels = np.r_[np.ones(inside.size), np.zeros(outside.size)]
    expected = roc_auc_score(labels, np.r_[inside, outside])
    assert auroc(inside, outside) == pytest.approx(expected, abs=1e-12)


@settings(deadline=None)
@given(score_arrays, score_arrays)
def test_auroc_counts_the_pairs_that_id_wins(inside: np.ndarray, outside: np.ndarray):
    wins = sum((a > b) + 0.5 * (a == b) for a in inside for b in outside)
    assert auroc(inside, outside) == pytest.approx(wins / (inside.size * outside.size), abs=1e-12)


@settings(deadline=None)
@given(tied, tied, shares)
def test_a_monotone_transform_leaves_every_metric(
    inside: np.ndarray, outside: np.ndarray, tpr: float
):
    for transform in (np.exp, np.arctan, lambda x: x**3 - 1e6):
        assert auroc(transform(inside), transform(outside)) == auroc(inside, outside)
        transformed = fpr_at_tpr(transform(inside), transform(outside), tpr=tpr)
        assert transformed == fpr_at_tpr(inside, outside, tpr=tpr)


@settings(deadline=None)
@given(score_arrays, score_arrays)
def test_swapped_or_negated_the_auroc_is_its_complement(inside: np.ndarray, outside: np.ndarray):
    assert auroc(outside, inside) == pytest.approx(1 - auroc(inside, outside), abs=1e-12)
    assert auroc(-inside, -outside) == pytest.approx(1 - auroc(inside, outside), abs=1e-12)


def test_auroc_of_the_extremes():
    low, high = np.array([0.0, 1.0]), np.array([2.0, 3.0])
    assert auroc(high, low) == 1.0
    assert auroc(low, high) == 0.0
    assert auroc(low, low) == 0.5
    assert auroc(np.zeros(7), np.zeros(3)) == 0.5


def _smallest_fpr(inside: np.ndarray, outside: np.ndarray, percent: int) -> float:
    """By trying every threshold, with whole numbers only."""
    best = 1.0
    for threshold in np.r_[inside, outside]:
        num_kept = int((inside >= threshold).sum())
        if 100 * num_kept >= percent * inside.size:
            best = min(best, float((outside >= threshold).mean()))
    return best


@settings(deadline=None)
@given(score_arrays, score_arrays, st.integers(1, 100))
def test_fpr_is_the_smallest_of_all_thresholds_that_keep_enough(
    inside: np.ndarray, outside: np.ndarray, percent: int
):
    expected = _smallest_fpr(inside, outside, percent)
    assert fpr_at_tpr(inside, outside, tpr=percent / 100) == expected


@settings(deadline=None)
@given(score_arrays, st.integers(1, 100))
def test_the_threshold_keeps_enough_and_a_higher_one_does_not(inside: np.ndarray, percent: int):
    threshold = threshold_at_tpr(inside, tpr=percent / 100)
    needed = Fraction(percent, 100) * inside.size
    assert threshold in inside
    assert (inside >= threshold).sum() >= needed
    assert (inside > threshold).sum() < needed


@pytest.mark.parametrize("size", [20, 40, 100, 1000, 9960, 50_000])
def test_a_share_that_is_a_whole_number_of_images_is_met_exactly(size: int):
    """0.95 * 20 is not quite 19 in floating point, and 0.07 * 100 is more than 7."""
    inside = np.arange(size, dtype=np.float64)
    for percent in (5, 7, 29, 55, 57, 58, 90, 95):
        if percent * size % 100 == 0:
            threshold = threshold_at_tpr(inside, tpr=percent / 100)
            assert (inside >= threshold).sum() == percent * size // 100


def test_edges_of_the_share():
    inside, outside = np.array([1.0, 2.0, 3.0, 4.0]), np.array([0.0, 2.5, 3.5, 5.0])
    assert threshold_at_tpr(inside, tpr=1.0) == 1.0
    assert fpr_at_tpr(inside, outside, tpr=1.0) == 0.75
    assert threshold_at_tpr(inside, tpr=1e-9) == 4.0
    assert fpr_at_tpr(inside, outside, tpr=1e-9) == 0.25
    assert threshold_at_tpr(inside, tpr=0.75) == 2.0
    assert threshold_at_tpr(inside, tpr=0.7500001) == 1.0
    assert threshold_at_tpr(inside) == 1.0


def test_ties_at_the_threshold_are_accepted():
    assert fpr_at_tpr(np.ones(4), np.array([1.0, 1.0, 0.0, 2.0])) == 0.75
    assert fpr_at_tpr(np.ones(4), np.zeros(3)) == 0.0
    assert fpr_at_tpr(np.array([1.0]), np.array([1.0])) == 1.0


def test_single_precision_scores_are_taken():
    inside, outside = np.float32([0.1, 0.2, 0.3]), np.float32([0.2, 0.05])
    assert auroc(inside, outside) == pytest.approx((1 + 1.5 + 2 + 0) / 6)
    assert fpr_at_tpr(inside, outside, tpr=0.6) == 0.5


def test_a_million_scores_are_exact():
    """The number of pairs, 10 ** 12, is beyond what a float32 or an int32 counts."""
    inside, outside = np.arange(1e6) + 0.5, np.arange(1e6)
    assert auroc(inside, outside) == (1e6 + 1) / 2e6


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ([], "must hold at least one score; got none"),
        ([1.0, np.nan], "must be finite; got 1 of 2 that are not"),
        ([np.inf, -np.inf, 0.0], "must be finite; got 2 of 3 that are not"),
    ],
)
def test_no_metric_is_made_of_missing_or_infinite_scores(bad: list[float], message: str):
    bad_scores, good = np.array(bad, dtype=np.float64), np.array([1.0, 2.0])
    for metric in (auroc, fpr_at_tpr):
        with pytest.raises(ValueError, match=f"id_scores {message}"):
            metric(bad_scores, good)
        with pytest.raises(ValueError, match=f"ood_scores {message}"):
            metric(good, bad_scores)
    with pytest.raises(ValueError, match=f"id_scores {message}"):
        threshold_at_tpr(bad_scores)


@pytest.mark.parametrize("tpr", [0.0, -0.5, 1.0000001, 95.0, float("nan")])
def test_a_share_outside_of_its_range_is_refused(tpr: float):
    good = np.array([1.0, 2.0])
    with pytest.raises(ValueError, match=r"tpr must lie in \(0, 1\]; got"):
        threshold_at_tpr(good, tpr=tpr)
    with pytest.raises(ValueError, match=r"tpr must lie in \(0, 1\]; got"):
        fpr_at_tpr(good, good, tpr=tpr)
