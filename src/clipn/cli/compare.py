"""Compare two folders of results: every difference, with its bootstrap interval."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from rich.table import Table
from rich.text import Text

from clipn.cli.outputs import make_console

if TYPE_CHECKING:
    from clipn.benchmarks.compare import Difference


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of `clipn compare`."""

    first: Annotated[Path, tyro.conf.Positional]
    """A folder that `clipn eval` has written."""

    second: Annotated[Path, tyro.conf.Positional]
    """Another, of the same images."""

    csv: Path | None = None
    """Write the differences as CSV; shares, not percent."""

    num_resamples: int = 1000
    """Of the bootstrap."""

    seed: int = 0
    """Of the bootstrap."""


def run(options: Options) -> int:
    """Compare, print, write; returns the exit code."""
    from clipn.benchmarks.compare import compare_results

    differences = compare_results(
        options.first, options.second, num_resamples=options.num_resamples, seed=options.seed
    )
    console = make_console()
    for suite in dict.fromkeys(one.suite for one in differences):
        rows = [one for one in differences if one.suite == suite]
        console.print(Text(suite, style="bold underline"), _table(rows), "", sep="\n")
    print("Percent; difference: second minus first. * marks an interval without zero.")
    if options.csv is not None:
        _write_csv(options.csv, differences)
    return 0


def _table(differences: "list[Difference]") -> Table:
    """A row a figure; the name of a score stands where its rows begin."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("score", "set", "metric"):
        table.add_column(name, overflow="fold")
    for name in ("first", "second", "difference", "95 % interval"):
        table.add_column(name, justify="right", no_wrap=True)
    last = ""
    for one in differences:
        table.add_row(
            *(Text(text) for text in ("" if one.score == last else one.score, one.set_name)),
            "AUROC" if one.metric == "auroc" else "FPR95",
            *(f"{100 * value:.2f}" for value in (one.first, one.second)),
            f"{100 * one.difference:+.2f}",
            _interval(one),
        )
        last = one.score
    return table


def _interval(one: "Difference") -> str:
    if one.interval is None:
        return "-"
    low, high = one.interval
    mark = " *" if low > 0 or high < 0 else ""
    return f"{100 * low:+.2f} to {100 * high:+.2f}{mark}"


def _write_csv(path: Path, differences: "tuple[Difference, ...]") -> None:
    import pandas as pd

    from clipn.files import write_text

    rows = [
        {
            "suite": one.suite,
            "score": one.score,
            "set": one.set_name,
            "metric": one.metric,
            "first": one.first,
            "second": one.second,
            "difference": one.difference,
            "low": None if one.interval is None else one.interval[0],
            "high": None if one.interval is None else one.interval[1],
        }
        for one in differences
    ]
    write_text(path, pd.DataFrame(rows).to_csv(index=False, lineterminator="\n"))
