"""How far a figure would move on other images of the same kind: percentile bootstrap.

Images are drawn with replacement, as many as there are, from each set on its own; the interval lies
between two percentiles of the figures of many such draws.

Source: Efron & Tibshirani, "An introduction to the bootstrap", 1993, chapter 13.
"""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float, Shaped

from clipn.metrics.checks import finite_scores
from clipn.metrics.curve import RocCurve
from clipn.metrics.draws import Interval, Rows, intervals_of_draws, set_sizes, shared_sizes
from clipn.metrics.summary import SUMMARY_METRICS, SummaryMetric

ScorePair = tuple[Float[np.ndarray, " _"], Float[np.ndarray, " _"]]  # ID, OOD


def bootstrap_interval(
    metric: Callable[..., float],
    *arrays: Shaped[np.ndarray, "_ ..."],
    num_resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Confidence interval of any metric.

    For the metrics of `summarise`, `bootstrap_summary` gives the same intervals faster.

    Args:
        metric: Takes the arrays, returns a number.
        *arrays: One for each set of images, resampled by rows, each on its own. What belongs to the
            same image goes into one array, as columns.
        num_resamples: How many draws, at least 1.
        level: Probability that the interval is meant to have, in (0, 1).
        seed: Of the draws; the same seed and lengths draw the same rows.

    Returns:
        The interval.

    Raises:
        ValueError: If there is no array, one is empty, or an option lies outside its range.

    Example:
        >>> from clipn.metrics import auroc
        >>> interval = bootstrap_interval(
        ...     auroc, np.arange(40.0), np.arange(40.0) - 20, num_resamples=100
        ... )
        >>> interval.estimate
        0.875
        >>> 0.75 < interval.low < interval.estimate < interval.high < 1
        True
    """

    def figure(rows: Rows) -> list[float]:
        """The figure of a draw."""
        return [metric(*_take(arrays, rows))]

    sizes = set_sizes(arrays)
    return intervals_of_draws(figure, sizes, num_resamples=num_resamples, level=level, seed=seed)[0]


def bootstrap_difference(
    metric: Callable[..., float],
    first: Sequence[Shaped[np.ndarray, "_ ..."]],
    second: Sequence[Shaped[np.ndarray, "_ ..."]],
    *,
    num_resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Confidence interval of metric(first) - metric(second), for two detectors of the same images.

    Every draw gives both the same images, so what is hard for both cancels out: the interval is
    narrower than those of the two figures suggest.

    Args:
        metric: Takes the arrays of one detector, returns a number.
        first: Arrays of the one, as `bootstrap_interval` takes them.
        second: Arrays of the other; row i is the same image as row i of the first.
        num_resamples: How many draws, at least 1.
        level: Probability that the interval is meant to have, in (0, 1).
        seed: Of the draws; the same seed and lengths draw the same rows.

    Returns:
        The interval of the difference; above 0 where the first has the higher figure.

    Raises:
        ValueError: If the arrays do not match in number and length, one is empty, or an option lies
            outside its range.

    Example:
        >>> from clipn.metrics import auroc
        >>> scores = (np.arange(40.0), np.arange(40.0) - 20)
        >>> bootstrap_difference(auroc, scores, scores, num_resamples=10)
        Interval(estimate=0.0, low=0.0, high=0.0)
    """

    def figure(rows: Rows) -> list[float]:
        """The figure of a draw."""
        return [metric(*_take(first, rows)) - metric(*_take(second, rows))]

    sizes = shared_sizes(first, second)
    return intervals_of_draws(figure, sizes, num_resamples=num_resamples, level=level, seed=seed)[0]


def bootstrap_summary(
    id_scores: Float[np.ndarray, " num_id"],
    ood_scores: Float[np.ndarray, " num_ood"],
    *,
    metrics: Sequence[SummaryMetric] = ("auroc", "fpr95"),
    num_resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[SummaryMetric, Interval]:
    """`bootstrap_interval` of metrics of `summarise`, all of them from the same draws.

    The scores are sorted once; a draw only counts how often it takes each of them.

    Args:
        id_scores: Scores of the ID images, higher = more in-distribution.
        ood_scores: Scores of the OOD images.
        metrics: Fields of `Summary`.
        num_resamples: How many draws, at least 1.
        level: Probability that an interval is meant to have, in (0, 1).
        seed: Of the draws; the same seed and lengths draw the same rows.

    Returns:
        An interval for each of the metrics.

    Raises:
        ValueError: If either is empty or holds a NaN or an infinity, or an option lies outside its
            range.

    Example:
        >>> intervals = bootstrap_summary(
        ...     np.arange(40.0), np.arange(40.0) - 20, num_resamples=10
        ... )
        >>> intervals["auroc"].estimate
        0.875
    """
    curve = _curve_of_draw((id_scores, ood_scores))

    def figures(rows: Rows) -> list[float]:
        """The figures of a draw."""
        drawn = curve(rows)
        return [SUMMARY_METRICS[name](drawn) for name in metrics]

    sizes = set_sizes((id_scores, ood_scores))
    intervals = intervals_of_draws(
        figures, sizes, num_resamples=num_resamples, level=level, seed=seed
    )
    return dict(zip(metrics, intervals, strict=True))


def bootstrap_summary_difference(
    first: ScorePair,
    second: ScorePair,
    *,
    metrics: Sequence[SummaryMetric] = ("auroc", "fpr95"),
    num_resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[SummaryMetric, Interval]:
    """`bootstrap_difference` of metrics of `summarise`, all of them from the same draws.

    Args:
        first: ID and OOD scores of the one detector.
        second: ID and OOD scores of the other, for the same images in the same order.
        metrics: Fields of `Summary`.
        num_resamples: How many draws, at least 1.
        level: Probability that an interval is meant to have, in (0, 1).
        seed: Of the draws; the same seed and lengths draw the same rows.

    Returns:
        An interval of the difference for each of the metrics; above 0 where the first has the
        higher figure, which is the better one for some metrics and the worse for others.

    Raises:
        ValueError: If the lengths do not match, a set is empty or holds a NaN or an infinity, or an
            option lies outside its range.

    Example:
        >>> better = (np.arange(40.0), np.arange(40.0) - 40)
        >>> worse = (np.arange(40.0), np.arange(40.0) - 20)
        >>> differences = bootstrap_summary_difference(better, worse, num_resamples=100)
        >>> differences["auroc"].low > 0 > differences["fpr95"].high
        True
    """
    sizes = shared_sizes(first, second)
    curves = [_curve_of_draw(scores) for scores in (first, second)]

    def figures(rows: Rows) -> list[float]:
        """The figures of a draw."""
        one, other = (curve(rows) for curve in curves)
        return [SUMMARY_METRICS[name](one) - SUMMARY_METRICS[name](other) for name in metrics]

    intervals = intervals_of_draws(
        figures, sizes, num_resamples=num_resamples, level=level, seed=seed
    )
    return dict(zip(metrics, intervals, strict=True))


def _curve_of_draw(scores: ScorePair) -> Callable[[Rows], RocCurve]:
    """What gives the ROC curve of any rows, its points those of all scores."""
    inside, outside = finite_scores("id_scores", scores[0]), finite_scores("ood_scores", scores[1])
    rising, level = np.unique(np.concatenate([inside, outside]), return_inverse=True)
    point = rising.size - level  # of the curve: 1 is the highest score, 0 keeps nothing
    id_point, ood_point = point[: inside.size], point[inside.size :]
    thresholds = np.append(np.inf, rising[::-1])

    def curve(rows: Rows) -> RocCurve:
        """The curve of a draw."""
        id_rows, ood_rows = rows
        return RocCurve(
            thresholds=thresholds,
            id_kept=np.bincount(id_point[id_rows], minlength=thresholds.size).cumsum(),
            ood_kept=np.bincount(ood_point[ood_rows], minlength=thresholds.size).cumsum(),
        )

    return curve


def _take(arrays: Sequence[np.ndarray], rows: Rows) -> list[np.ndarray]:
    return [array[taken] for array, taken in zip(arrays, rows, strict=True)]
