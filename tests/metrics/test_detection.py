"""AUROC, AUPR and detection error beside scikit-learn, and by hand."""

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.metrics import roc_curve as sklearn_roc_curve

from clipn.metrics import aupr, auroc, detection_error

Scores = tuple[np.ndarray, np.ndarray]

sizes = st.integers(1, 60)
tied = hnp.arrays(np.float64, sizes, elements=st.integers(-4, 4).map(float))
free = hnp.arrays(np.float64, sizes, elements=st.floats(-1e6, 1e6))
score_arrays = tied | free


def _check_beside_scikit_learn(inside: np.ndarray, outside: np.ndarray) -> None:
    is_id = np.repeat([1, 0], [inside.size, outside.size])
    scores = np.concatenate([inside, outside]).astype(np.float64)
    assert auroc(inside, outside) == pytest.approx(roc_auc_score(is_id, scores), abs=1e-12)
    aupr_in = average_precision_score(is_id, scores)
    aupr_out = average_precision_score(1 - is_id, -scores)
    assert aupr(inside, outside) == pytest.approx(aupr_in, abs=1e-12)
    assert aupr(inside, outside, positive="ood") == pytest.approx(aupr_out, abs=1e-12)
    fpr, tpr, _ = sklearn_roc_curve(is_id, scores, drop_intermediate=False)
    error = (0.5 * (1 - tpr) + 0.5 * fpr).min()
    assert detection_error(inside, outside) == pytest.approx(error, abs=1e-12)


def test_each_kind_of_scores_has_scikit_learns_figures(family: Scores):
    _check_beside_scikit_learn(*family)


@settings(deadline=None)
@given(score_arrays, score_arrays)
def test_any_scores_have_scikit_learns_figures(inside: np.ndarray, outside: np.ndarray):
    _check_beside_scikit_learn(inside, outside)


@settings(deadline=None)
@given(score_arrays, score_arrays)
def test_auroc_counts_the_pairs_that_id_wins(inside: np.ndarray, outside: np.ndarray):
    wins = sum((a > b) + 0.5 * (a == b) for a in inside for b in outside)
    assert auroc(inside, outside) == pytest.approx(wins / (inside.size * outside.size), abs=1e-12)


@settings(deadline=None)
@given(tied, tied)
def test_a_monotone_transform_leaves_every_metric(inside: np.ndarray, outside: np.ndarray):
    for transform in (np.exp, np.arctan, lambda x: x**3 - 1e6):
        for metric in (auroc, aupr, detection_error):
            assert metric(transform(inside), transform(outside)) == metric(inside, outside)


@settings(deadline=None)
@given(score_arrays, score_arrays)
def test_the_sets_exchanged_and_the_scores_negated_nothing_changes(
    inside: np.ndarray, outside: np.ndarray
):
    assert auroc(outside, inside) == pytest.approx(1 - auroc(inside, outside), abs=1e-12)
    assert auroc(-outside, -inside) == auroc(inside, outside)
    assert detection_error(-outside, -inside) == detection_error(inside, outside)
    exchanged = aupr(-outside, -inside, positive="ood")
    assert exchanged == pytest.approx(aupr(inside, outside), abs=1e-12)


def test_the_extremes():
    low, high = np.array([0.0, 1.0]), np.array([2.0, 3.0])
    assert (auroc(high, low), detection_error(high, low)) == (1.0, 0.0)
    assert (auroc(low, high), detection_error(low, high)) == (0.0, 0.5)
    assert auroc(low, low) == 0.5
    for positive in ("id", "ood"):
        assert aupr(high, low, positive=positive) == 1.0
        # Both positives come last: precision 1/3 at the first of them, 2/4 at the second.
        assert aupr(low, high, positive=positive) == pytest.approx((1 / 3 + 2 / 4) / 2)


def test_a_constant_score_knows_only_the_share_of_each_set():
    inside, outside = np.zeros(3), np.zeros(9)
    assert auroc(inside, outside) == 0.5
    assert aupr(inside, outside) == 0.25
    assert aupr(inside, outside, positive="ood") == 0.75
    assert detection_error(inside, outside) == 0.5


def test_figures_worked_out_by_hand():
    """By falling score: 4 ID, 3 both, 2 ID and two OOD, 1 OOD."""
    inside, outside = np.array([4.0, 3.0, 2.0]), np.array([3.0, 2.0, 2.0, 1.0])
    assert auroc(inside, outside) == (4 + 3.5 + 2) / 12
    assert aupr(inside, outside) == pytest.approx((1 / 1 + 2 / 3 + 3 / 6) / 3, abs=1e-15)
    # Of scores <= 1 one of one is OOD, <= 2 three of four, <= 3 four of six.
    aupr_out = (1 * 1 / 1 + 2 * 3 / 4 + 1 * 4 / 6) / 4
    assert aupr(inside, outside, positive="ood") == pytest.approx(aupr_out, abs=1e-15)
    # At 3: one of three ID images is lost, one of four OOD images is kept.
    assert detection_error(inside, outside) == pytest.approx((1 / 3 + 1 / 4) / 2, abs=1e-15)


def test_a_million_scores_are_exact():
    """The number of pairs, 10 ** 12, is beyond what a float32 or an int32 counts."""
    inside, outside = np.arange(1e6) + 0.5, np.arange(1e6)
    assert auroc(inside, outside) == (1e6 + 1) / 2e6


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ([], "must hold at least one score; got none"),
        ([1.0, np.nan], "must be finite; got 1 of 2 that are not. Leave out the images"),
        ([np.inf, -np.inf, 0.0], "must be finite; got 2 of 3 that are not"),
    ],
)
@pytest.mark.parametrize("metric", [auroc, aupr, detection_error])
def test_no_metric_is_made_of_missing_or_infinite_scores(metric, bad: list[float], message: str):
    bad_scores, good = np.array(bad, dtype=np.float64), np.array([1.0, 2.0])
    with pytest.raises(ValueError, match=f"id_scores {message}"):
        metric(bad_scores, good)
    with pytest.raises(ValueError, match=f"ood_scores {message}"):
        metric(good, bad_scores)


def test_half_precision_that_overflowed_is_refused():
    with pytest.raises(ValueError, match="id_scores must be finite; got 1 of 1"):
        auroc(np.array([np.inf], dtype=np.float16), np.array([1.0], dtype=np.float16))
