"""Results as tables: for the terminal, Markdown, CSV and LaTeX; published rows beside ours."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from rich.table import Table
from rich.text import Text

from clipn.benchmarks.published import PublishedRow, published_rows
from clipn.benchmarks.results import Result
from clipn.files import write_text
from clipn.report.evaluation_table import METRICS, Column, find_figures, table_columns

MEASURED, PUBLISHED = "measured", "published"
CAPTION = "AUROC / FPR95 in percent, ID positive."


@dataclass(frozen=True, kw_only=True)
class SuiteTable:
    """What scores reach on one suite.

    Attributes:
        suite: Name of the suite.
        columns: OOD sets, then averages where they say more than the sets.
        frame: A row a score: `origin` ("measured" or "published"), `model`, `score`, `source`, then
            the shares "COLUMN auroc" and "COLUMN fpr95"; NaN where a publication has no figure.
    """

    suite: str
    columns: tuple[str, ...]
    frame: pd.DataFrame

    def cells(self) -> list[list[str]]:
        """The rows as text: model, score, then AUROC / FPR95 in percent of every column."""
        rows = self.frame.to_dict(orient="records")
        return [
            [_name_model(row), row["score"], *(_cell(row, column) for column in self.columns)]
            for row in rows
        ]

    @property
    def header(self) -> list[str]:
        """Of the cells."""
        return ["model", "score", *self.columns]

    def to_rich(self) -> Table:
        """For the terminal; published rows are dimmed."""
        table = Table(box=None, header_style="bold", pad_edge=False, title=Text(self.suite))
        for position, name in enumerate(self.header):
            table.add_column(Text(name), justify="left" if position < 2 else "right")
        for origin, cells in zip(self.frame["origin"], self.cells(), strict=True):
            style = "dim" if origin == PUBLISHED else ""
            table.add_row(*(Text(cell) for cell in cells), style=style)
        return table

    def to_markdown(self) -> str:
        """A Markdown table, with the published rows' sources below."""
        lines = [_markdown_row(self.header), _markdown_row(["---"] * len(self.header))]
        lines += [_markdown_row(cells) for cells in self.cells()]
        return "\n".join([*lines, "", CAPTION, *self._sources()])

    def to_csv(self) -> str:
        """All columns of the frame, unrounded shares."""
        return self.frame.to_csv(index=False, lineterminator="\n")

    def to_latex(self) -> str:
        """A LaTeX tabular (booktabs)."""
        frame = pd.DataFrame(self.cells(), columns=self.header)
        layout = "ll" + "r" * len(self.columns)
        return frame.to_latex(index=False, escape=True, column_format=layout)

    def _sources(self) -> list[str]:
        rows = self.frame.to_dict(orient="records")
        sources = dict.fromkeys(
            f"- {row['score']}, {row['model']}: {row['source']}"
            for row in rows
            if row["origin"] == PUBLISHED
        )
        return ["", "Published rows, measured by others:", *sources] if sources else []


def suite_tables(results: Iterable[Result]) -> list[SuiteTable]:
    """One table a suite, in the order in which the suites occur."""
    by_suite: dict[str, list[Result]] = {}
    for result in results:
        by_suite.setdefault(result.suite, []).append(result)
    return [_suite_table(suite, group) for suite, group in by_suite.items()]


def write_tables(folder: Path, tables: Sequence[SuiteTable]) -> list[Path]:
    """Write every table as Markdown, CSV and LaTeX; returns the paths."""
    paths = []
    for table in tables:
        for suffix, text in (
            (".md", table.to_markdown()),
            (".csv", table.to_csv()),
            (".tex", table.to_latex()),
        ):
            path = folder / f"{table.suite}{suffix}"
            write_text(path, text if text.endswith("\n") else text + "\n")
            paths.append(path)
    return paths


def _suite_table(suite: str, results: Sequence[Result]) -> SuiteTable:
    columns = table_columns(results)
    rows = [_measured_row(result, columns) for result in results]
    rows += [_published_row(row, columns) for row in published_rows(suite)]
    names = tuple(column.name for column in columns)
    return SuiteTable(suite=suite, columns=names, frame=pd.DataFrame(rows))


def _measured_row(result: Result, columns: Sequence[Column]) -> dict[str, Any]:
    return {
        "origin": MEASURED,
        "model": result.model,
        "score": result.score,
        "source": f"clipn {result.package_version}, weights {result.model_fingerprint}",
        **_figures(result.sets, result.averages, columns),
    }


def _published_row(published: PublishedRow, columns: Sequence[Column]) -> dict[str, Any]:
    return {
        "origin": PUBLISHED,
        "model": published.backbone or "backbone unstated",
        "score": published.method,
        "source": f"{published.source} (verified: {published.verified})",
        **_figures(published.sets, {"all": published.average}, columns),
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


def _name_model(row: dict[Any, Any]) -> str:
    return f"{row['model']} ({PUBLISHED})" if row["origin"] == PUBLISHED else row["model"]


def _cell(row: dict[Any, Any], column: str) -> str:
    values = [row.get(f"{column} {metric}") for metric in METRICS]
    shown = ["-" if value is None or pd.isna(value) else f"{100 * value:.2f}" for value in values]
    return "-" if set(shown) == {"-"} else " / ".join(shown)


def _markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
