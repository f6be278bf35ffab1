"""Intervals that repeat, that cover, and that do not depend on how they are computed."""

import numpy as np
import pytest
from scipy import stats

from clipn.metrics import (
    SUMMARY_METRICS,
    Interval,
    aupr,
    auroc,
    bootstrap_difference,
    bootstrap_interval,
    bootstrap_summary,
    bootstrap_summary_difference,
    detection_error,
    fpr_at_tpr,
    open_set_h,
    summarise,
)

Scores = tuple[np.ndarray, np.ndarray]

ONE_BY_ONE = {
    "auroc": auroc,
    "fpr95": fpr_at_tpr,
    "fpr95_ood_positive": lambda *scores: fpr_at_tpr(*scores, positive="ood"),
    "aupr_in": aupr,
    "aupr_out": lambda *scores: aupr(*scores, positive="ood"),
    "detection_error": detection_error,
}


def _check(interval: Interval, expected: Interval) -> None:
    found = (interval.estimate, interval.low, interval.high)
    assert found == pytest.approx((expected.estimate, expected.low, expected.high), abs=1e-12)


def _scores(seed: int, *, shift: float = 1.0, num_id: int = 60, num_ood: int = 90) -> Scores:
    generator = np.random.default_rng(seed)
    return generator.normal(shift, 1, num_id), generator.normal(0, 1, num_ood)


def test_counting_draws_is_the_same_as_drawing_scores(family: Scores):
    intervals = bootstrap_summary(*family, metrics=tuple(SUMMARY_METRICS), num_resamples=12, seed=3)
    assert list(intervals) == list(SUMMARY_METRICS)
    for name, interval in intervals.items():
        expected = bootstrap_interval(ONE_BY_ONE[name], *family, num_resamples=12, seed=3)
        _check(interval, expected)
        assert interval.estimate == getattr(summarise(*family), name)


def test_differences_too(family: Scores):
    generator = np.random.default_rng(1)
    other = tuple(generator.permutation(part) for part in family)
    intervals = bootstrap_summary_difference(
        family, other, metrics=tuple(SUMMARY_METRICS), num_resamples=8, seed=3
    )
    for name, interval in intervals.items():
        metric = ONE_BY_ONE[name]
        _check(interval, bootstrap_difference(metric, family, other, num_resamples=8, seed=3))


def test_the_interval_is_that_of_percentiles_of_plain_draws():
    scores = np.random.default_rng(0).normal(size=30)
    generator = np.random.default_rng(7)
    means = [scores[generator.integers(30, size=30)].mean() for _ in range(200)]
    interval = bootstrap_interval(np.mean, scores, num_resamples=200, level=0.9, seed=7)
    expected = (np.mean(scores), *np.percentile(means, [5, 95]))
    assert (interval.estimate, interval.low, interval.high) == pytest.approx(expected, abs=1e-12)


def test_a_mean_has_the_interval_of_its_standard_error():
    scores = np.random.default_rng(0).normal(size=400)
    interval = bootstrap_interval(np.mean, scores)
    error = scores.std() / 20
    expected = stats.norm.interval(0.95, loc=scores.mean(), scale=error)
    assert (interval.low, interval.high) == pytest.approx(expected, abs=0.25 * error)


def test_intervals_cover_the_true_auroc_as_often_as_they_say():
    """ID and OOD are normal, a deviation apart: the true AUROC is Phi(1 / sqrt 2)."""
    truth = stats.norm.cdf(1 / np.sqrt(2))
    num_covered = 0
    for seed in range(60):
        auroc_interval = bootstrap_summary(
            *_scores(seed), metrics=("auroc",), num_resamples=80, level=0.8, seed=seed
        )["auroc"]
        num_covered += auroc_interval.low <= truth <= auroc_interval.high
    assert 40 <= num_covered <= 56


def test_the_same_seed_gives_the_same_interval_and_another_does_not():
    scores = _scores(0)
    first, again, other = (
        bootstrap_summary(*scores, num_resamples=50, seed=seed) for seed in (1, 1, 2)
    )
    assert first == again
    assert first["auroc"] != other["auroc"]
    assert first["auroc"].estimate == other["auroc"].estimate


def test_more_images_and_a_lower_level_make_it_narrower():
    def width(scores: Scores, level: float) -> float:
        interval = bootstrap_summary(*scores, num_resamples=100, level=level)["auroc"]
        return interval.high - interval.low

    few, many = _scores(0), _scores(0, num_id=2000, num_ood=2000)
    assert width(many, 0.95) < width(few, 0.95)
    assert width(few, 0.5) < width(few, 0.95)


def test_the_same_images_in_both_make_the_difference_certain():
    """Two detectors that rank alike but for little noise; their own intervals overlap widely."""
    inside, outside = _scores(0, num_id=500, num_ood=500)
    better = (inside + 0.1, outside)
    paired = bootstrap_summary_difference(better, (inside, outside), num_resamples=100)["auroc"]
    assert 0 < paired.low < paired.estimate < paired.high
    alone = [
        bootstrap_summary(*scores, num_resamples=100)["auroc"]
        for scores in (better, (inside, outside))
    ]
    assert alone[0].low < alone[1].high
    assert paired.high - paired.low < 0.5 * (alone[0].high - alone[0].low)


def test_a_detector_does_not_differ_from_itself():
    scores = _scores(0)
    nothing = Interval(estimate=0.0, low=0.0, high=0.0)
    differences = bootstrap_summary_difference(scores, scores, num_resamples=10)
    assert differences == {"auroc": nothing, "fpr95": nothing}


def test_columns_of_an_array_stay_together():
    pairs = np.stack([np.arange(20.0), 2 * np.arange(20.0)], axis=1)
    interval = bootstrap_interval(
        lambda drawn: float((drawn[:, 1] - 2 * drawn[:, 0]).max()), pairs, num_resamples=10
    )
    assert interval == Interval(estimate=0.0, low=0.0, high=0.0)


def test_any_number_of_sets_of_any_kind_is_taken():
    known, unknown = np.arange(40) % 4 > 0, np.arange(30) % 2 > 0
    interval = bootstrap_interval(open_set_h, known, unknown, num_resamples=50)
    assert interval.estimate == pytest.approx(0.6)
    assert interval.low < 0.6 < interval.high


@pytest.mark.parametrize("level", [0.0, 1.0, 95, float("nan")])
def test_a_level_outside_of_its_range_is_refused(level: float):
    with pytest.raises(ValueError, match=r"level must lie in \(0, 1\); got"):
        bootstrap_interval(np.mean, np.ones(3), level=level)


def test_what_cannot_be_drawn_from_is_refused():
    some, none = np.ones(3), np.array([])
    with pytest.raises(ValueError, match="num_resamples must be at least 1; got 0"):
        bootstrap_summary(some, some, num_resamples=0)
    with pytest.raises(ValueError, match=r"each with a row at least; got lengths \(3, 0\)"):
        bootstrap_interval(auroc, some, none)
    with pytest.raises(ValueError, match=r"There must be arrays, .* got lengths \(\)"):
        bootstrap_interval(auroc)
    with pytest.raises(ValueError, match="ood_scores must be finite; got 3 of 3"):
        bootstrap_summary(some, some * np.nan)


def test_detectors_of_different_images_are_refused():
    one, other = _scores(0), _scores(0, num_ood=91)
    message = r"same images in the same order; got lengths \(60, 90\) and \(60, 91\)"
    with pytest.raises(ValueError, match=message):
        bootstrap_difference(auroc, one, other)
    with pytest.raises(ValueError, match=message):
        bootstrap_summary_difference(one, other)
