"""What the page of an evaluation shows, gathered from results and scores."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from jaxtyping import Bool, Float

from clipn.benchmarks.figures import readable
from clipn.benchmarks.published import published_rows
from clipn.benchmarks.results import Result, SetScores
from clipn.benchmarks.suites import SUITES
from clipn.metrics import expected_calibration_error
from clipn.report.charts import (
    histograms,
    is_share,
    reliability_plot,
    risk_plot,
    risk_points,
    roc_plot,
    roc_points,
)
from clipn.report.evaluation_table import (
    GroupTable,
    MainTable,
    describe_rule,
    make_group_tables,
    make_main_table,
)
from clipn.report.mistakes import Album, Mistakes, id_set_name, mean_id_scores, pictures_a_set
from clipn.report.plots import Plot, Points
from clipn.scores import SCORES

NUM_STYLES = 21  # of curves: seven colours times three dashes

_Answers: TypeAlias = tuple[Float[np.ndarray, " answered"], Bool[np.ndarray, " answered"]]
ScoresOf: TypeAlias = Mapping[tuple[str, str, str], SetScores] | Callable[[Result], SetScores]
"""Where the scores of a result are found: by its key, or by asking for them."""


@dataclass(frozen=True, kw_only=True)
class ScorePart:
    """One score of one model on one suite.

    Attributes:
        result: Its figures.
        summary: What the score is; empty for scores that are not registered.
        style: Class of its curves.
        histograms: One an OOD set.
        reliability: Accuracy by score; None where it is not known which answers are right.
        reliability_note: Its expected calibration error, of scores that lie in [0, 1].
        mistakes: The images judged most wrongly, set by set.
    """

    result: Result
    summary: str
    style: str
    histograms: tuple[Plot, ...]
    reliability: Plot | None
    reliability_note: str
    mistakes: tuple[Mistakes, ...]


@dataclass(frozen=True, kw_only=True)
class ModelPart:
    """One model on one suite.

    Attributes:
        model: Its name.
        scores: From the best average AUROC to the worst.
        curves: ROC curves of all scores, one an OOD set; then risk at coverage.
        unreadable: Names (or rows) of the images that could not be read, by set.
    """

    model: str
    scores: tuple[ScorePart, ...]
    curves: tuple[Plot, ...]
    unreadable: dict[str, tuple[str, ...]]

    @property
    def results(self) -> list[Result]:
        """Of the scores, in their order."""
        return [part.result for part in self.scores]

    @property
    def set_names(self) -> list[str]:
        """Every OOD set of any score."""
        return list(dict.fromkeys(name for result in self.results for name in result.sets))


@dataclass(frozen=True, kw_only=True)
class Fact:
    """A figure worth a look before all others: a share, what it is, and whose it is."""

    name: str
    value: float
    detail: str


@dataclass(frozen=True, kw_only=True)
class SuitePart:
    """One suite.

    Attributes:
        name: Of the suite.
        title: A longer name, where the suite is known.
        notes: Sentences about it.
        facts: The best figures.
        table: AUROC and FPR95 of everything.
        models: One a model.
    """

    name: str
    title: str
    notes: tuple[str, ...]
    facts: tuple[Fact, ...]
    table: MainTable
    models: tuple[ModelPart, ...]


class PartMaker:
    """Gathers the parts of a page; scores are loaded one result at a time."""

    def __init__(self, results: Sequence[Result], scores: ScoresOf, album: Album) -> None:
        names = dict.fromkeys(result.score for result in results)
        self.styles = {name: f"k{number % NUM_STYLES}" for number, name in enumerate(names)}
        self._results = sorted(results, key=lambda result: -result.averages["all"]["auroc"])
        self._order = results
        self._scores = scores
        self._album = album
        self._num_pictures = pictures_a_set(results)

    def suites(self) -> Iterator[SuitePart]:
        """The suites in the order in which they were given."""
        for name in dict.fromkeys(result.suite for result in self._order):
            results = [result for result in self._results if result.suite == name]
            suite = SUITES.get(name)
            yield SuitePart(
                name=name,
                title=suite.title if suite else name,
                notes=tuple(filter(None, (suite.citation, suite.notes))) if suite else (),
                facts=_facts(results),
                table=make_main_table(results, published_rows(name)),
                models=tuple(
                    self._model([result for result in results if result.model == model])
                    for model in dict.fromkeys(result.model for result in results)
                ),
            )

    def groups(self) -> list[GroupTable]:
        """The groups that the suites belong to."""
        return make_group_tables(self._results)

    def _model(self, results: Sequence[Result]) -> ModelPart:
        parts: list[ScorePart] = []
        roc: dict[str, dict[str, Points]] = {}
        risk: dict[str, Points] = {}
        unreadable: dict[str, tuple[str, ...]] = {}
        for result in results:
            scores = self._load(result)
            unreadable |= self._unreadable(result, scores)
            for name, outside in scores.ood_scores.items():
                inside = readable(scores.id_scores[name])
                roc.setdefault(name, {})[result.score] = roc_points(inside, readable(outside))
            answers = _answers(scores)
            if answers is not None:
                risk[result.score] = risk_points(*answers)
            parts.append(self._score(result, scores, answers))
        curves = [roc_plot(name, points, self.styles) for name, points in roc.items()]
        curves += [risk_plot(risk, self.styles)] if risk else []
        return ModelPart(
            model=results[0].model,
            scores=tuple(parts),
            curves=tuple(curves),
            unreadable=unreadable,
        )

    def _load(self, result: Result) -> SetScores:
        if callable(self._scores):
            return self._scores(result)
        if result.key not in self._scores:
            raise ValueError(
                f"The scores of {result.score} of {result.model} on {result.suite} are missing: "
                f"scores must have the key {result.key}."
            )
        return self._scores[result.key]

    def _score(self, result: Result, scores: SetScores, answers: _Answers | None) -> ScorePart:
        known = SCORES.get(result.score)
        threshold = result.rules.get("calibrated", {}).get("threshold")
        return ScorePart(
            result=result,
            summary=known.summary if known else "",
            style=self.styles[result.score],
            histograms=histograms(
                {name: readable(values) for name, values in scores.id_scores.items()},
                {name: readable(values) for name, values in scores.ood_scores.items()},
                score=result.score,
                threshold=threshold,
            ),
            reliability=reliability_plot(*answers, score=result.score) if answers else None,
            reliability_note=_reliability_note(answers),
            mistakes=self._album.mistakes(result, scores, num_pictures=self._num_pictures),
        )

    def _unreadable(self, result: Result, scores: SetScores) -> dict[str, tuple[str, ...]]:
        """Names of the images without a score, or their rows where the images are not at hand."""
        everything = {id_set_name(result): mean_id_scores(scores)} | scores.ood_scores
        names: dict[str, tuple[str, ...]] = {}
        for name, values in everything.items():
            images = self._album.find(result, name)
            rows = np.flatnonzero(np.isnan(values)).tolist()
            if rows:
                names[name] = tuple(images.ids[row] if images else f"row {row}" for row in rows)
        return names


def _answers(scores: SetScores) -> _Answers | None:
    """Score of every readable ID image, and whether its answer is right; None without labels."""
    if scores.id_right is None:
        return None
    values = mean_id_scores(scores)
    is_readable = ~np.isnan(values)
    return values[is_readable], scores.id_right[is_readable]


def _reliability_note(answers: _Answers | None) -> str:
    """ECE of a score that can be read as a probability."""
    if answers is None or not is_share(answers[0]):
        return ""
    error = 100 * expected_calibration_error(answers[1], answers[0])
    return f"ECE {error:.2f}; dotted: a probability that holds"


def _facts(results: Sequence[Result]) -> tuple[Fact, ...]:
    """The best averages and the best rule of a suite."""
    facts: list[Fact] = []
    for name, metric, sign in (("Best AUROC", "auroc", 1), ("Best FPR95", "fpr95", -1)):
        best = max(results, key=lambda one: sign * one.averages["all"][metric])
        average = " on average" if len(best.sets) > 1 else ""
        facts.append(_fact(name + average, best.averages["all"][metric], best))
    rules = [
        (rule["h"], name, result)
        for result in results
        for name, rule in result.rules.items()
        if rule.get("h") is not None
    ]
    if rules:
        value, name, result = max(rules, key=lambda rule: rule[0])
        how = describe_rule(name, result.score)
        facts.append(_fact("Best H of a decision", value, result, how=how))
    known = [result for result in results if result.id_accuracy is not None]
    if known:
        best = max(known, key=lambda one: one.id_accuracy or 0.0)
        facts.append(Fact(name="ID accuracy", value=best.id_accuracy or 0.0, detail=best.model))
    return tuple(facts)


def _fact(name: str, value: float, result: Result, *, how: str = "") -> Fact:
    return Fact(
        name=name, value=value, detail=", ".join(filter(None, (result.score, how, result.model)))
    )
