"""Results as tables: for the terminal, Markdown, CSV and LaTeX; published rows beside ours."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Group
from rich.table import Table
from rich.text import Text

from clipn.benchmarks.published import PublishedRow, published_rows
from clipn.benchmarks.results import Result
from clipn.files import write_text
from clipn.report.evaluation_table import (
    METRICS,
    Column,
    GroupTable,
    describe_rule,
    find_figures,
    make_group_tables,
    table_columns,
)

MEASURED, PUBLISHED = "measured", "published"
SUITE_CAPTION = "AUROC / FPR95 in percent, ID positive."
GROUP_CAPTION = (
    "In percent. Accuracy: known images kept and given their class. Refused: unknown images "
    "refused. H: their harmonic mean in each suite. Means over {}."
)


@dataclass(frozen=True, kw_only=True)
class ResultTable:
    """What scores reach on a suite or on a group of suites.

    Attributes:
        name: Of the suite or the group.
        caption: What the figures are.
        texts: Columns of text, in their order; the first is "model".
        figures: Columns of figures, in their order: what the shares of one cell are called in
            `frame`, by the name of the column.
        frame: A row a score: `origin` ("measured" or "published"), the texts, `source`, then all
            shares; NaN where a publication has no figure.
    """

    name: str
    caption: str
    texts: tuple[str, ...]
    figures: Mapping[str, tuple[str, ...]]
    frame: pd.DataFrame

    @property
    def header(self) -> list[str]:
        """Names of the cells."""
        return [*self.texts, *self.figures]

    def cells(self) -> list[list[str]]:
        """The rows as text; shares in percent."""
        return [
            [
                *(_text(row, name) for name in self.texts),
                *(_cell(row, shares) for shares in self.figures.values()),
            ]
            for row in self.frame.to_dict(orient="records")
        ]

    def to_rich(self) -> Group:
        """For the terminal; published rows are dimmed, and one model's name stands in the title."""
        rows, models = self.cells(), {*self.frame["model"]}
        first = 1 if len(models) == 1 else 0
        title = f"{self.name}, model {models.pop()}" if first else self.name
        table = Table(box=None, header_style="bold", pad_edge=False)
        for name in self.texts[first:]:
            table.add_column(Text(name), no_wrap=True)
        for name in self.figures:
            table.add_column(Text(name), justify="right", overflow="fold")
        for origin, cells in zip(self.frame["origin"], rows, strict=True):
            style = "dim" if origin == PUBLISHED else ""
            table.add_row(*(Text(cell) for cell in cells[first:]), style=style)
        return Group(Text(title, style="bold underline"), table, Text(self.caption, style="dim"))

    def to_markdown(self) -> str:
        """A Markdown table, with the published rows' sources below."""
        rule = ["---"] * len(self.texts) + ["---:"] * len(self.figures)
        lines = [_markdown_row(cells) for cells in (self.header, rule, *self.cells())]
        sources = self.sources()
        if sources:
            sources = ["", "Published rows, measured by others:", "", *(f"- {s}" for s in sources)]
        return "\n".join([*lines, "", self.caption, *sources])

    def to_csv(self) -> str:
        """All columns of the frame, unrounded shares."""
        return self.frame.to_csv(index=False, lineterminator="\n")

    def to_latex(self) -> str:
        """A LaTeX tabular (booktabs), below comments that say what it holds."""
        frame = pd.DataFrame(self.cells(), columns=self.header)
        layout = "l" * len(self.texts) + "r" * len(self.figures)
        notes = [f"{self.name}. {self.caption} Needs the package booktabs.", *self.sources()]
        tabular = frame.to_latex(index=False, escape=True, column_format=layout)
        return "".join(f"% {note}\n" for note in notes) + tabular

    def sources(self) -> list[str]:
        """Who states the published rows, and where."""
        rows = self.frame.to_dict(orient="records")
        lines = (
            f"{row['score']}, {row['model']}: {row['source']}"
            for row in rows
            if row["origin"] == PUBLISHED
        )
        return list(dict.fromkeys(lines))


def suite_tables(results: Iterable[Result]) -> list[ResultTable]:
    """One table a suite, in the order in which the suites occur."""
    by_suite: dict[str, list[Result]] = {}
    for result in results:
        by_suite.setdefault(result.suite, []).append(result)
    return [_suite_table(suite, group) for suite, group in by_suite.items()]


def group_tables(results: Iterable[Result]) -> list[ResultTable]:
    """What decision rules do on average: one table a group of suites that is published as one."""
    return [_group_table(table) for table in make_group_tables(list(results)) if table.measured]


def write_tables(folder: Path, tables: Sequence[ResultTable]) -> list[Path]:
    """Write every table as Markdown, CSV and LaTeX; returns the paths."""
    paths = []
    for table in tables:
        for suffix, text in (
            (".md", table.to_markdown()),
            (".csv", table.to_csv()),
            (".tex", table.to_latex()),
        ):
            path = folder / f"{table.name}{suffix}"
            write_text(path, text if text.endswith("\n") else text + "\n")
            paths.append(path)
    return paths


def _suite_table(suite: str, results: Sequence[Result]) -> ResultTable:
    columns = table_columns(results)
    rows = [
        {
            "origin": MEASURED,
            "model": result.model,
            "score": result.score,
            "source": f"clipn {result.package_version}, weights {result.model_fingerprint}",
            **_figures(result.sets, result.averages, columns),
        }
        for result in results
    ]
    rows += [
        {**_published(row), **_figures(row.sets, {"all": row.average}, columns)}
        for row in published_rows(suite)
    ]
    return ResultTable(
        name=suite,
        caption=SUITE_CAPTION,
        texts=("model", "score"),
        figures={
            column.name: tuple(f"{column.name} {metric}" for metric in METRICS)
            for column in columns
        },
        frame=pd.DataFrame(rows),
    )


def _group_table(table: GroupTable) -> ResultTable:
    rows: list[dict[str, Any]] = [
        {
            "origin": MEASURED,
            "model": row.model,
            "score": row.score,
            "rule": describe_rule(row.rule, row.score),
            "source": f"clipn, mean over {', '.join(table.suites)}",
            "accuracy": row.accuracy,
            "refused": row.refused,
            "H": row.h,
        }
        for row in table.measured
    ]
    rows += [
        {
            **_published(row),
            "rule": "not stated",
            "accuracy": row.average.get("accuracy"),
            "H": row.average.get("h"),
        }
        for row in table.published
    ]
    suites = f"{len(table.suites)} of {table.num_suites} suites"
    return ResultTable(
        name=table.name,
        caption=GROUP_CAPTION.format(suites),
        texts=("model", "score", "rule"),
        figures={name: (name,) for name in ("accuracy", "refused", "H")},
        frame=pd.DataFrame(rows),
    )


def _published(row: PublishedRow) -> dict[str, Any]:
    """What every published row says of itself."""
    return {
        "origin": PUBLISHED,
        "model": row.backbone or "backbone unstated",
        "score": row.method,
        "source": f"{row.source} (verified: {row.verified})",
    }


def _figures(
    sets: Mapping[str, Mapping[str, Any]],
    averages: Mapping[str, Mapping[str, Any]],
    columns: Sequence[Column],
) -> dict[str, float]:
    """What is known of "COLUMN METRIC"."""
    return {
        f"{column.name} {metric}": figures[metric]
        for column in columns
        for metric in METRICS
        if metric in (figures := find_figures(sets, averages, column))
    }


def _text(row: Mapping[Any, Any], name: str) -> str:
    is_published = name == "model" and row["origin"] == PUBLISHED
    return f"{row[name]} ({PUBLISHED})" if is_published else row[name]


def _cell(row: Mapping[Any, Any], shares: Iterable[str]) -> str:
    values = [row.get(name) for name in shares]
    shown = ["-" if value is None or pd.isna(value) else f"{100 * value:.2f}" for value in values]
    return "-" if set(shown) == {"-"} else " / ".join(shown)


def _markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
