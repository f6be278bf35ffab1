"""The table of a suite as a page shows it: measured rows, and published ones apart from them."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clipn.benchmarks.published import PublishedRow, published_rows
from clipn.benchmarks.results import Result
from clipn.benchmarks.suites import SUITE_GROUPS

METRICS = {"auroc": 1, "fpr95": -1}  # 1: higher is better, -1: lower is


@dataclass(frozen=True, kw_only=True)
class Column:
    """An OOD set or an average, with a figure for each of `METRICS`.

    Attributes:
        name: Of the set, or "average", "near average", ...
        kind: "near", "far" or "ood" of a set; None of an average.
    """

    name: str
    kind: str | None


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One figure.

    Attributes:
        value: The share; None where it is not known.
        interval: Of the bootstrap, where there is one.
        is_best: Whether no measured row of the suite has a better one.
    """

    value: float | None
    interval: tuple[float, float] | None = None
    is_best: bool = False


@dataclass(frozen=True, kw_only=True)
class Row:
    """A score, measured or published; as many cells as columns times metrics."""

    name: str
    detail: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True, kw_only=True)
class MainTable:
    """AUROC and FPR95 of a suite.

    Attributes:
        columns: OOD sets, then averages where there are several sets.
        measured: Rows by the name of the model, the best average AUROC first.
        published: Rows of others, as they were printed.
    """

    columns: tuple[Column, ...]
    measured: dict[str, tuple[Row, ...]]
    published: tuple[Row, ...]


def make_main_table(results: Sequence[Result], published: Iterable[PublishedRow]) -> MainTable:
    """The table of a suite.

    Args:
        results: Of one suite.
        published: Of the same suite.
    """
    columns = table_columns(results)
    figures = {result.key: _measured_figures(result, columns) for result in results}
    signs = [*METRICS.values()] * len(columns)
    best = [
        max((sign * value for value in values if value is not None), default=None)
        for sign, values in zip(signs, zip(*figures.values(), strict=True), strict=True)
    ]
    measured: dict[str, list[Row]] = {}
    for result in results:
        cells = tuple(
            Cell(value=value, interval=interval, is_best=value is not None and sign * value == top)
            for value, interval, sign, top in zip(
                figures[result.key], _intervals(result, columns), signs, best, strict=True
            )
        )
        measured.setdefault(result.model, []).append(Row(name=result.score, detail="", cells=cells))
    return MainTable(
        columns=columns,
        measured={model: tuple(rows) for model, rows in measured.items()},
        published=tuple(_published_row(row, columns) for row in published),
    )


def table_columns(results: Sequence[Result]) -> tuple[Column, ...]:
    """The columns of a suite's table.

    Args:
        results: Of one suite.

    Returns:
        Every set of any result, then the averages where they say more than the sets.
    """
    kinds = {name: figures["kind"] for result in results for name, figures in result.sets.items()}
    columns = [Column(name=name, kind=kind) for name, kind in kinds.items()]
    if len(kinds) > 1:
        counts = Counter(kinds.values())
        groups = [kind for kind in ("near", "far", "ood") if 1 < counts[kind] < len(kinds)]
        names = [f"{kind} average" for kind in groups]
        columns += [Column(name=name, kind=None) for name in (*names, "average")]
    return tuple(columns)


def _measured_figures(result: Result, columns: Sequence[Column]) -> list[float | None]:
    return [
        find_figures(result.sets, result.averages, column).get(metric)
        for column in columns
        for metric in METRICS
    ]


def find_figures(
    sets: Mapping[str, Mapping[str, Any]],
    averages: Mapping[str, Mapping[str, Any]],
    column: Column,
) -> Mapping[str, Any]:
    """The figures that belong in a column.

    Args:
        sets: Figures by the name of the OOD set.
        averages: Figures by the kind of the sets, or "all".
        column: From `table_columns`.

    Returns:
        Shares by the name of the figure; empty where nothing is known.
    """
    if column.kind is not None:
        return sets.get(column.name, {})
    kind = column.name.removesuffix("average").strip()
    return averages.get(kind or "all", {})


def _intervals(result: Result, columns: Sequence[Column]) -> list[tuple[float, float] | None]:
    found = [
        find_figures(result.sets, {}, column).get(f"{metric}_interval")
        for column in columns
        for metric in METRICS
    ]
    return [None if pair is None else (pair[0], pair[1]) for pair in found]


def _published_row(row: PublishedRow, columns: Sequence[Column]) -> Row:
    figures = [
        find_figures(row.sets, {"all": row.average}, column).get(metric)
        for column in columns
        for metric in METRICS
    ]
    cells = tuple(Cell(value=value) for value in figures)
    return Row(name=row.method, detail=describe_published(row), cells=cells)


def describe_published(row: PublishedRow) -> str:
    """Backbone, convention and source of a published row, in a line."""
    has_fpr = any("fpr95" in figures for figures in (row.average, *row.sets.values()))
    conventions = {
        "id": "",
        "ood": "FPR95 with OOD as the positive class",
        "unstated": "which class FPR95 counts as positive is not stated",
    }
    convention = conventions[row.positive] if has_fpr else ""
    backbone = row.backbone or "backbone not stated"
    seen = {
        "yes": "seen there",
        "partly": "seen there in part",
        "secondary": "seen in another\u2019s table",
        "unstated": "not verified",
    }[row.verified]
    return f"{'; '.join(filter(None, (backbone, convention, row.source)))} ({seen})"


def describe_rule(rule: str, score: str) -> str:
    """What a decision rule is called beside the score that it decides by.

    Example:
        >>> describe_rule("atd", "atd"), describe_rule("calibrated", "msp")
        ('its own rule', 'calibrated threshold')
    """
    if rule == "calibrated":
        return "calibrated threshold"
    return "its own rule" if rule == score else f"the rule of {rule}"


@dataclass(frozen=True, kw_only=True)
class RuleMean:
    """What a decision rule does, averaged over the suites of a group.

    Attributes:
        model: The model.
        score: The score.
        rule: The decision rule.
        accuracy: Share of the known images that are kept and right.
        refused: Share of the unknown images that are refused.
        h: Mean of the suites' H.
    """

    model: str
    score: str
    rule: str
    accuracy: float
    refused: float
    h: float


@dataclass(frozen=True, kw_only=True)
class GroupTable:
    """A group of suites that is published as one: means over the suites measured.

    Attributes:
        name: Of the group.
        suites: The suites measured.
        num_suites: How many suites the group has.
        measured: The best H first.
        published: Rows of others.
    """

    name: str
    suites: tuple[str, ...]
    num_suites: int
    measured: tuple[RuleMean, ...]
    published: tuple[PublishedRow, ...]


def make_group_tables(results: Sequence[Result]) -> list[GroupTable]:
    """The tables of the groups that any result belongs to.

    Args:
        results: Of any suites.
    """
    measured = {result.suite for result in results}
    return [
        _make_group_table(name, members, results, published_rows(name))
        for name, members in SUITE_GROUPS.items()
        if measured.intersection(members)
    ]


def _make_group_table(
    name: str, members: Sequence[str], results: Iterable[Result], published: Iterable[PublishedRow]
) -> GroupTable:
    """The table of a group; a rule is averaged where every suite measured has it."""
    own = [result for result in results if result.suite in members]
    measured = {result.suite for result in own}
    suites = tuple(suite for suite in members if suite in measured)
    found: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for result in own:
        for rule, figures in result.rules.items():
            if figures.get("h") is not None:
                found.setdefault((result.model, result.score, rule), []).append(figures)
    rows = [
        RuleMean(
            model=model,
            score=score,
            rule=rule,
            accuracy=_mean(one["id_accuracy"] for one in figures),
            refused=_mean(_mean(one["refused"].values()) for one in figures),
            h=_mean(one["h"] for one in figures),
        )
        for (model, score, rule), figures in found.items()
        if len(figures) == len(suites)
    ]
    return GroupTable(
        name=name,
        suites=suites,
        num_suites=len(members),
        measured=tuple(sorted(rows, key=lambda row: -row.h)),
        published=tuple(published),
    )


def _mean(values: Iterable[float]) -> float:
    listed = list(values)
    return sum(listed) / len(listed)
