"""How answers leave the command line: a table, and files that are whole or not there."""

import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from clipn.cli.printable import printable
from clipn.files import write_aside, write_text
from clipn.predictions import NONE_OF_THESE, describe_threshold

if TYPE_CHECKING:
    from clipn.explanation import Explanation
    from clipn.predictions import Predictions

STDOUT = Path("-")
WIDTH_OF_PIPES = 240
MAX_ROWS = 200  # a longer table is no longer read; a file holds it all


@contextmanager
def show_progress() -> Iterator[Progress]:
    """Progress bars on stderr, gone when they are done; nothing where stderr is no terminal."""
    console = Console(stderr=True)
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    with progress:
        yield progress


def make_console() -> Console:
    """Prints tables as wide as the terminal; a file or a pipe has no width, so lines stay whole."""
    console = Console()
    return console if console.is_terminal else Console(width=WIDTH_OF_PIPES)


def print_table(answers: "Predictions") -> None:
    """Print an answer a row, then the count of each label."""
    console = make_console()
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("image", overflow="fold")
    table.add_column("answer")
    table.add_column("score", justify="right")
    table.add_column("best class", style="dim")
    for answer in answers[:MAX_ROWS]:
        # Text, not markup: a file may be called "[red].jpg".
        label = Text(printable(answer.label), style="yellow" if answer.is_ood else "green")
        score = f"{answer.score:.3f}"
        if answer.error is not None:
            label, score = Text("unreadable", style="red"), ""
        table.add_row(
            Text(printable(answer.image)), label, score, Text(printable(answer.best_class))
        )
    console.print(table)
    if len(answers) > MAX_ROWS:
        console.print(
            f"... and {len(answers) - MAX_ROWS} more; --csv, --json or --parquet write all."
        )
    console.print(Text(printable(summarise(answers))))


def print_explanations(explanations: Iterable["Explanation"]) -> None:
    """Print what decided about each image, and yes and no of its likeliest classes."""
    console = make_console()
    for explanation in explanations:
        table = Table(box=None, pad_edge=False, header_style="dim")
        table.add_column("  class")
        for column in ("yes", "no", "logit yes", "logit no"):
            table.add_column(column, justify="right")
        for one in explanation.classes:
            no = ("", "") if one.logit_no is None else (f"{one.p_no:.3f}", f"{one.logit_no:.2f}")
            table.add_row(
                Text(f"  {printable(one.name)}"),
                f"{one.p_yes:.3f}",
                no[0],
                f"{one.logit_yes:.2f}",
                no[1],
            )
        prediction = explanation.prediction
        console.print(Text("\n" + printable(f"{prediction.image}: {prediction.label}")))
        console.print(Text(f"  {printable(explanation.evidence.reason)}"))
        console.print(table)


def summarise(answers: "Predictions") -> str:
    """A sentence with the counts and with what decided."""
    num_ood = sum(answer.is_ood is True for answer in answers)
    num_unreadable = len(answers.unreadable)
    counts = Counter(a.label for a in answers if a.is_ood is False)
    named = ", ".join(f"{count} {name}" for name, count in counts.most_common(5))
    more = f" and {len(counts) - 5} more classes" if len(counts) > 5 else ""
    parts = [f"{sum(counts.values())} named" + (f" ({named}{more})" if named else "")]
    parts.append(f"{num_ood} {NONE_OF_THESE}")
    if num_unreadable:
        parts.append(f"{num_unreadable} unreadable")
    decided = f"the paper's rule {answers.rule}"
    if answers.rule == "threshold":
        decided = f"the threshold {describe_threshold(answers.threshold)}"
    return (
        f"{len(answers)} images: {', '.join(parts)}. "
        f"Score {answers.score_name}, decided by {decided}."
    )


def print_unreadable(answers: "Predictions") -> None:
    """Name the images that could not be read, and why, on stderr."""
    console = Console(stderr=True, soft_wrap=True)
    for answer in answers.unreadable:
        console.print(Text(printable(f"unreadable: {answer.error}")))


def write_answers(
    answers: "Predictions",
    *,
    json_path: Path | None,
    csv_path: Path | None,
    parquet_path: Path | None,
) -> None:
    """Write the answers to files, each whole or not at all; JSON and CSV also to stdout for "-"."""
    table = answers.to_dataframe()
    if json_path is not None:
        header = {
            "score": answers.score_name,
            "rule": answers.rule,
            "threshold": answers.threshold,
        }
        # JSON has no NaN, which is the score of an image that could not be read.
        rows = [{**asdict(a), "score": None if a.error else a.score} for a in answers]
        _write_text(
            json_path, json.dumps({**header, "answers": rows}, indent=2, ensure_ascii=False)
        )
    if csv_path is not None:
        _write_text(csv_path, table.to_csv(index=False, lineterminator="\n").rstrip("\n"))
    if parquet_path is not None:
        with write_aside(parquet_path) as aside:
            table.to_parquet(aside, index=False)


def _write_text(path: Path, text: str) -> None:
    if path == STDOUT:
        sys.stdout.write(text + "\n")
    else:
        write_text(path, text + "\n")
