"""Measure how well scores tell a suite's ID images from its OOD images: tables and a report."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro
from rich.console import Console
from rich.table import Table
from rich.text import Text

from clipn.cli.inputs import check_device, read_lines
from clipn.cli.outputs import make_console, show_progress

if TYPE_CHECKING:
    from clipn.benchmarks.opening import SetCheck
    from clipn.benchmarks.options import EvaluationOptions
    from clipn.benchmarks.results import Result
    from clipn.benchmarks.run import Evaluation
    from clipn.benchmarks.suite import Suite
    from clipn.scores import Lexicon

WORDNET = "wordnet"
NUM_SHOWN = 5  # unreadable images told of


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of `clipn eval`."""

    suites: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="SUITE")] = ()
    """Names of suites or groups of them; `clipn list suites` shows them."""

    data_root: Path
    """The folder that holds the data sets."""

    out_dir: Path | None = None
    """Gets results, tables, the report and the embeddings."""

    model: str = "compact"
    """"compact", a model folder, ARCHITECTURE/TAG of open_clip, or hf-hub:org/name@revision."""

    scores: tuple[str, ...] = ("all",)
    """Names of scores; "all" takes those that can be served."""

    score_options: tuple[str, ...] = ()
    """Options of scores, such as react.percentile=95."""

    words: str = WORDNET
    """Words for neg_label, csp and ada_neg: "wordnet", a WordNet folder, or a file of words."""

    outliers: Path | None = None
    """A file with one outlier name a line, for eoe."""

    templates: Path | None = None
    """A file with one prompt template a line; the suite's or the model's own by default."""

    existing: Literal["keep", "replace", "refuse"] = "keep"
    """Of results that are there: keep those that fit, replace all, or refuse to start."""

    counts: Literal["enforce", "report"] = "enforce"
    """A set whose count is not the protocol's is an error, or let be (for trials)."""

    check: bool = False
    """Only verify folders, counts and readability, and say what is missing and where to get it."""

    track: Literal["tensorboard", "wandb"] | None = None
    """Send every figure there too; tensorboard writes below OUT_DIR/tensorboard."""

    cache_dir: Path | None = None
    """Where embeddings are kept; OUT_DIR/cache by default."""

    num_resamples: int = 1000
    """Of the bootstrap intervals; 0 leaves them out."""

    seed: int = 0
    """Of the bootstrap, the calibration halves and the order of streams."""

    batch_size: int = 64
    """Images embedded at once."""

    device: str = "cpu"
    """Where to run: cpu, cuda, cuda:1, ..."""


def run(options: Options) -> int:
    """Evaluate, or only check; returns the exit code."""
    from clipn.benchmarks.suites import get_suites

    if not options.suites:
        raise ValueError("SUITE is missing: name one or more; `clipn list suites` shows them.")
    suites = [suite for name in options.suites for suite in get_suites(name)]
    if options.check:
        return _check(suites, options.data_root)
    if options.out_dir is None:
        raise ValueError("--out-dir is missing: name the folder that gets the results.")
    return _evaluate(suites, options, options.out_dir)


def _check(suites: "list[Suite]", data_root: Path) -> int:
    """Print what is there and what is not."""
    from clipn.benchmarks.opening import check_suite

    with show_progress() as progress:
        task = progress.add_task("looking", total=None)

        def on_images(name: str, done: int, total: int) -> None:
            """Move the bar of a set."""
            progress.update(task, description=f"reading {name}", completed=done, total=total)

        found_of = {s.name: check_suite(s, data_root, on_images=on_images) for s in suites}
    for suite_name, checks in found_of.items():
        _print_checks(suite_name, checks)
    needed = [one for checks in found_of.values() for one in checks if one.is_needed]
    return 0 if all(one.is_sound for one in needed) else 1


def _print_checks(suite_name: str, checks: "tuple[SetCheck, ...]") -> None:
    """A row a set, then all that is wrong."""
    from clipn.scores import SCORES

    fitted = ", ".join(score.name for score in SCORES.values() if "id_images" in score.needs)
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("set", "kind"):
        table.add_column(name)
    for name in ("found", "expected", "unreadable"):
        table.add_column(name, justify="right")
    for one in checks:
        expected = "any" if one.num_expected is None else f"{one.num_expected:,}"
        found = "-" if one.path is None else f"{one.num_found:,}"
        table.add_row(Text(one.name), one.kind, found, expected, f"{len(one.unreadable):,}")
    make_console().print(Text(suite_name, style="bold underline"), table)
    console = Console(soft_wrap=True)
    for one in checks:
        reasons = [one.problem] if one.problem else []
        reasons += one.unreadable[:NUM_SHOWN]
        if len(one.unreadable) > NUM_SHOWN:
            reasons.append(f"... and {len(one.unreadable) - NUM_SHOWN:,} more of {one.name}")
        if not one.is_needed:
            reasons.append(f"Only the scores that are fitted, {fitted}, need {one.name}.")
        for reason in reasons:
            console.print(Text(reason))


def _evaluate(suites: "list[Suite]", options: Options, out_dir: Path) -> int:
    """Evaluate, print the tables, write tables and report."""
    from clipn.benchmarks.run import evaluate
    from clipn.model import load_model
    from clipn.report.tables import group_tables, suite_tables, write_tables

    model = load_model(options.model, device=check_device(options.device))
    scores = "all" if options.scores == ("all",) else options.scores
    evaluations = []
    with show_progress() as progress:
        task = progress.add_task("starting", total=None)

        def on_rows(name: str, done: int, total: int) -> None:
            """Move the bar of a set."""
            progress.update(task, description=f"embedding {name}", completed=done, total=total)

        def on_score(name: str) -> None:
            """Say which score is computed."""
            progress.update(task, description=f"score {name}", completed=0, total=None)

        how = _evaluation_options(options, on_rows, on_score)
        for suite in suites:
            evaluations.append(
                evaluate(
                    model,
                    suite,
                    data_root=options.data_root,
                    out_dir=out_dir,
                    scores=scores,
                    options=how,
                )
            )
    results = [result for one in evaluations for result in one.results]
    tables = [*suite_tables(results), *group_tables(results)]
    console = make_console()
    for table in tables:
        console.print(table.to_rich(), "")
    _print_notes(evaluations)
    write_tables(out_dir / "tables", tables)
    _write_report(out_dir, evaluations)
    if options.track:
        _track(options.track, out_dir, results)
    print(f"Tables: {out_dir / 'tables'}\nReport: {out_dir / 'report.html'}")
    return 0


def _write_report(out_dir: Path, evaluations: "list[Evaluation]") -> None:
    """The page with tables, plots and the images that are most wrongly judged."""
    from clipn.benchmarks.results import read_scores
    from clipn.report.evaluation import write_report

    write_report(
        out_dir / "report.html",
        [result for one in evaluations for result in one.results],
        lambda result: read_scores(out_dir, result),
        images=[images for one in evaluations for images in one.sets],
        title="Out-of-distribution detection",
    )


def _track(name: Literal["tensorboard", "wandb"], out_dir: Path, results: "list[Result]") -> None:
    """Send figures away: SUITE/SCORE/SET/auroc and so on, as shares."""
    from clipn.tracking import open_tracker

    models = ", ".join(sorted({result.model for result in results}))
    with open_tracker(name, out_dir, config={"model": models}) as tracker:
        for result in results:
            means = {f"mean_{kind}": figures for kind, figures in result.averages.items()}
            tracker.log(
                {
                    f"{result.suite}/{result.score}/{kind}/{figure}": value
                    for kind, figures in {**result.sets, **means}.items()
                    for figure, value in figures.items()
                    if isinstance(value, int | float)
                }
            )


def _evaluation_options(
    options: Options,
    on_rows: Callable[[str, int, int], None],
    on_score: Callable[[str], None],
) -> "EvaluationOptions":
    """What `clipn.evaluate` takes."""
    from clipn.benchmarks.options import EvaluationOptions

    return EvaluationOptions(
        existing=options.existing,
        score_options=_read_score_options(options.score_options),
        templates=read_lines(options.templates) if options.templates else None,
        lexicon=_read_words(options.words) if _takes_words(options.scores) else None,
        outliers=read_lines(options.outliers) if options.outliers else None,
        counts=options.counts,
        cache_dir=options.cache_dir,
        batch_size=options.batch_size,
        num_resamples=options.num_resamples,
        seed=options.seed,
        on_rows=on_rows,
        on_score=on_score,
    )


def _read_score_options(texts: tuple[str, ...]) -> dict[str, dict[str, int | float | str]]:
    """Options such as "react.percentile=95" by the name of the score.

    Example:
        >>> _read_score_options(("react.percentile=95", "eoe.beta=0.5"))
        {'react': {'percentile': 95}, 'eoe': {'beta': 0.5}}
    """
    options: dict[str, dict[str, int | float | str]] = {}
    for text in texts:
        key, _, value = text.partition("=")
        score, _, option = key.partition(".")
        if not (score and option and value):
            raise ValueError(f"--score-options must look like react.percentile=95; got {text!r}.")
        options.setdefault(score, {})[option] = _read_number(value)
    return options


def _read_number(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _takes_words(names: tuple[str, ...]) -> bool:
    """Whether a score that is asked for mines words: reading them takes a second."""
    from clipn.scores import SCORES

    return any(
        score.words and name in ("all", score.name) for score in SCORES.values() for name in names
    )


def _read_words(words: str) -> "Lexicon | None":
    """The lexicon; None where the default one is not installed."""
    from clipn.errors import DataError
    from clipn.scores import read_lexicon

    try:
        return read_lexicon(words)
    except DataError:
        if words == WORDNET:
            return None  # the notes below the table say which scores it would have served
        raise


def _print_notes(evaluations: "list[Evaluation]") -> None:
    """What was left out, on stderr."""
    not_served = {name: why for one in evaluations for name, why in one.not_served.items()}
    for name, why in not_served.items():
        print(f"Not served: {name}: {why}", file=sys.stderr)
    unreadable = [why for one in evaluations for why in one.unreadable]
    for why in unreadable[:NUM_SHOWN]:
        print(f"Left out: {why}", file=sys.stderr)
    if len(unreadable) > NUM_SHOWN:
        print(f"... and {len(unreadable) - NUM_SHOWN} more images left out", file=sys.stderr)
