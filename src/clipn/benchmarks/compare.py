"""Two folders of results side by side: the difference of every figure, with its interval."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clipn.benchmarks.results import Result, SetScores, read_results, read_scores
from clipn.errors import DataError
from clipn.metrics import SummaryMetric, bootstrap_summary_difference

METRICS: tuple[SummaryMetric, ...] = ("auroc", "fpr95")


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A figure in two folders; shares.

    Attributes:
        suite: Name of the suite.
        score: Name of the score.
        set_name: The OOD set, or "average" over all of them.
        metric: "auroc" or "fpr95".
        first: The figure in the first folder.
        second: The figure in the second folder.
        interval: Bootstrap interval of second - first; None for averages.
    """

    suite: str
    score: str
    set_name: str
    metric: SummaryMetric
    first: float
    second: float
    interval: tuple[float, float] | None

    @property
    def difference(self) -> float:
        """Second minus first."""
        return self.second - self.first


def compare_results(
    first: Path, second: Path, *, num_resamples: int = 1000, seed: int = 0
) -> tuple[Difference, ...]:
    """Compare all results that both folders hold.

    Args:
        first: A folder that `evaluate` has written.
        second: Another; the same images are drawn in both at each resampling.
        num_resamples: Of the bootstrap.
        seed: Of the bootstrap.

    Returns:
        The differences, second - first, by suite, score, set and metric.

    Raises:
        DataError: If a folder holds no results, the two share none, one holds several models for a
            suite, or the images are not the same.
    """
    own, other = _by_suite_and_score(first), _by_suite_and_score(second)
    shared = [key for key in own if key in other]
    if not shared:
        raise DataError(f"{first} and {second} share no result: no suite and score is in both.")
    differences: list[Difference] = []
    for key in shared:
        _check_same_images(own[key], other[key])
        scores = read_scores(first, own[key]), read_scores(second, other[key])
        differences += _compare_result(
            (own[key], other[key]), scores, num_resamples=num_resamples, seed=seed
        )
    return tuple(differences)


def _by_suite_and_score(folder: Path) -> dict[tuple[str, str], Result]:
    """The results of a folder; two models in it cannot be told apart here."""
    found: dict[tuple[str, str], Result] = {}
    for result in read_results(folder):
        key = (result.suite, result.score)
        if key in found:
            raise DataError(
                f"{folder} holds {result.score} on {result.suite} of two models, "
                f"{found[key].model} and {result.model}; compare folders of one model each."
            )
        found[key] = result
    return found


def _check_same_images(first: Result, second: Result) -> None:
    for name, count in first.data.items():
        other = second.data.get(name)
        if other is None or other.fingerprint != count.fingerprint:
            raise DataError(
                f"The results of {first.score} on {first.suite} are of different images of "
                f"{name}; only figures of the same images can be compared."
            )


def _compare_result(
    results: tuple[Result, Result],
    scores: tuple[SetScores, SetScores],
    *,
    num_resamples: int,
    seed: int,
) -> Iterator[Difference]:
    """All figures of one score."""
    first, second = results
    key = {"suite": first.suite, "score": first.score}
    for name in first.sets:
        inside = _readable_in_both([one.id_scores[name] for one in scores])
        outside = _readable_in_both([one.ood_scores[name] for one in scores])
        intervals = bootstrap_summary_difference(
            (inside[1], outside[1]),
            (inside[0], outside[0]),
            metrics=METRICS,
            num_resamples=num_resamples,
            seed=seed,
        )
        for metric, interval in intervals.items():
            yield Difference(
                **key,
                set_name=name,
                metric=metric,
                first=first.sets[name][metric],
                second=second.sets[name][metric],
                interval=(interval.low, interval.high),
            )
    for metric in METRICS:
        averages = [result.averages["all"][metric] for result in results]
        yield Difference(
            **key,
            set_name="average",
            metric=metric,
            first=averages[0],
            second=averages[1],
            interval=None,
        )


def _readable_in_both(scores: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Both without the images that one of them could not read."""
    readable = ~(np.isnan(scores[0]) | np.isnan(scores[1]))
    return [values[readable] for values in scores]
