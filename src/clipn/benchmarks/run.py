"""Evaluate a model on a suite: each image embedded once, each score measured, each figure kept."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from clipn.benchmarks.embedded import EmbeddedSuite, embed_suite, mine_for
from clipn.benchmarks.figures import measure_calibrated, measure_rule, measure_sets
from clipn.benchmarks.needs import choose_scores
from clipn.benchmarks.options import EvaluationOptions
from clipn.benchmarks.results import (
    CONVENTION,
    Result,
    SetCount,
    SetScores,
    average,
    is_current,
    read_result,
    result_path,
    write_result,
)
from clipn.benchmarks.scoring import are_refused, are_right, best_classes, score_suite
from clipn.benchmarks.suite import Suite
from clipn.benchmarks.suites import get_suite
from clipn.data.image_sets import ImageSet
from clipn.errors import DataError
from clipn.model import CLIPN
from clipn.scores import MinedWords, Score


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What `evaluate` returns.

    Attributes:
        results: One for each score that could be served, in the order asked for.
        not_served: Why the other scores were left out, by their names.
        unreadable: Images that could not be read, with the reason.
        sets: The test sets, the ID set first.
    """

    results: tuple[Result, ...]
    not_served: dict[str, str]
    unreadable: tuple[str, ...]
    sets: tuple[ImageSet, ...]


def evaluate(
    model: CLIPN,
    suite: str | Suite,
    *,
    data_root: str | Path,
    out_dir: str | Path,
    scores: Literal["all"] | Sequence[str] = "all",
    options: EvaluationOptions | None = None,
) -> Evaluation:
    """Measure scores of a model on a suite.

    Every image is embedded once for all scores and suites that share it; a second run embeds
    nothing, and an interrupted one goes on.

    Args:
        model: Any CLIP; scores that need a "no" are left out where it has none.
        suite: A name of `clipn.benchmarks.SUITES`, or a suite of your own.
        data_root: The folder that holds the suite's sets.
        out_dir: Gets results, scores and, by default, the embeddings.
        scores: Names; "all" means those that can be served.
        options: Everything else.

    Returns:
        The results, and why scores were left out.

    Raises:
        DataError: If a set is missing or incomplete, or a result that is there already forbids it.
        ModelError: If a score asked for by name cannot be served.
        ValueError: If a name or an option is wrong.
    """
    options = options or EvaluationOptions()
    suite = get_suite(suite) if isinstance(suite, str) else suite
    chosen, not_served = choose_scores(scores, model, suite, options, Path(data_root))
    out_dir = Path(out_dir)
    if options.existing == "refuse":
        _refuse_existing(out_dir, suite, model, chosen)
    embedded = embed_suite(model, suite, Path(data_root), out_dir, chosen, options)
    words = mine_for(embedded, out_dir, chosen, options)
    id_best = best_classes(embedded, embedded.id_set)
    run = _Run(
        suite=suite,
        embedded=embedded,
        words=words,
        options=options,
        out_dir=out_dir,
        provenance=_provenance(suite, embedded),
        answers={
            "id_right": are_right(id_best, embedded.id_set),
            "id_best": id_best,
            "ood_best": {n: best_classes(embedded, one) for n, one in embedded.ood_sets.items()},
        },
    )
    sets = tuple(embedded.test_sets.values())
    return Evaluation(
        results=tuple(run.result_of(score) for score in chosen),
        not_served=not_served,
        unreadable=tuple(why for one in sets for why in one.rows.reasons.values()),
        sets=tuple(one.images for one in sets),
    )


def _refuse_existing(out_dir: Path, suite: Suite, model: CLIPN, scores: Sequence[Score]) -> None:
    for score in scores:
        path = result_path(out_dir, suite.name, model_name(model), score.name)
        if path.exists():
            raise DataError(
                f"There is a result {path} already; keep it (existing='keep'), replace it "
                "(existing='replace'), or name another folder."
            )


def model_name(model: CLIPN) -> str:
    """What results call a model: the name that loads it, or else its fingerprint."""
    return model.reference or f"model-{model.fingerprint()}"


def _provenance(suite: Suite, embedded: EmbeddedSuite) -> dict[str, Any]:
    """All that the results of every score depend on."""
    model = embedded.model
    kinds = {spec.name: spec.kind for spec in suite.test_sets}
    return {
        "suite": suite.name,
        "model": model_name(model),
        "model_fingerprint": model.fingerprint(),
        "convention": CONVENTION,
        "templates": list(embedded.bank.templates),
        "class_names": list(embedded.bank.names),
        "tau": model.tau,
        "data": {
            name: SetCount(
                kind=kinds[name],
                num_images=len(one.images),
                num_unreadable=len(one.rows.reasons),
                fingerprint=one.images.fingerprint,
            )
            for name, one in embedded.test_sets.items()
        },
    }


@dataclass(frozen=True, kw_only=True)
class _Run:
    """One evaluation under way; `answers` are the fields of `SetScores` that no score changes."""

    suite: Suite
    embedded: EmbeddedSuite
    words: dict[str, MinedWords]
    options: EvaluationOptions
    out_dir: Path
    provenance: dict[str, Any]
    answers: dict[str, Any]

    def result_of(self, score: Score) -> Result:
        """Measure a score, or keep the result that is there."""
        given = dict(self.options.score_options.get(score.name, {}))
        words = self.words.get(score.words) if score.words else None
        provenance = {
            **self.provenance,
            "score": score.name,
            "score_options": {**score.options, **given},
            "words": words.summary() if words else None,
        }
        path = result_path(self.out_dir, self.suite.name, provenance["model"], score.name)
        if self.options.existing == "keep" and path.exists():
            result = read_result(path)
            if not is_current(result, provenance):
                raise DataError(
                    f"The result {path} was made from other weights, data or options; replace it "
                    "(existing='replace') or name another folder."
                )
            return result
        if self.options.on_score:
            self.options.on_score(score.name)
        scores = replace(score_suite(score, given, self.embedded), **self.answers)
        result = self._measure(score, scores, provenance)
        write_result(self.out_dir, result, scores)
        return result

    def _measure(self, score: Score, scores: SetScores, provenance: dict[str, Any]) -> Result:
        """All figures of a score."""
        options, embedded, right = self.options, self.embedded, scores.id_right
        kinds = {spec.name: spec.kind for spec in self.suite.ood_sets}
        sets = measure_sets(scores, kinds, num_resamples=options.num_resamples, seed=options.seed)
        readable = embedded.id_set.rows.is_readable
        rules = {"calibrated": measure_calibrated(scores, tpr=options.tpr, seed=options.seed)}
        if score.refuses is not None:
            rules[score.name] = measure_rule(
                None if right is None else right[readable],
                are_refused(score, embedded, embedded.id_set),
                {n: are_refused(score, embedded, one) for n, one in embedded.ood_sets.items()},
            )
        return Result(
            **provenance,
            package_version=version("clipn"),
            date=datetime.now(UTC).isoformat(timespec="seconds"),
            id_accuracy=None if right is None else float(right[readable].mean()),
            sets=sets,
            averages=average(sets),
            rules=rules,
            scores_file=f"{score.name}.npz",
        )
