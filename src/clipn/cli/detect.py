"""Name what images show, or say that it is none of the classes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from clipn.cli.inputs import find_inputs
from clipn.cli.opening import OpeningOptions, open_detector
from clipn.cli.outputs import (
    STDOUT,
    print_explanations,
    print_table,
    print_unreadable,
    show_progress,
    write_answers,
)


@dataclass(frozen=True, kw_only=True)
class Options(OpeningOptions):
    """Options of `clipn detect`."""

    images: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="IMAGES")] = ()
    """Files, folders (with their subfolders), patterns, or - for paths on standard input."""

    explain: bool = False
    """Print below the table what decided about each image, and yes and no of its likeliest
    classes."""

    json: Path | None = None
    """Write the answers as JSON; - for standard output."""

    csv: Path | None = None
    """Write the answers as CSV; - for standard output."""

    parquet: Path | None = None
    """Write the answers as Parquet."""

    strict: bool = False
    """Exit with 1 if an image could not be read."""


def run(options: Options) -> int:
    """Answer for the images; returns the exit code."""
    if not options.images:
        raise ValueError(
            "IMAGES are missing: name files, folders, patterns, or - for standard input."
        )
    if options.parquet == STDOUT:
        raise ValueError("--parquet needs a file; only --json and --csv write to standard output.")
    if options.explain and STDOUT in (options.json, options.csv):
        raise ValueError("--explain prints below the table: write --json or --csv to a file.")
    from clipn.predictions import Predictions

    paths = find_inputs(options.images)
    detector = open_detector(options)
    with show_progress() as progress:
        stream = detector.stream(paths, on_error="keep")
        answers = progress.track(stream, total=len(paths), description="detecting")
        items = tuple(answers)
    assert detector.rule is not None
    predictions = Predictions(
        items=items,
        score_name=detector.score_name,
        rule=detector.rule,
        threshold=detector.threshold,
    )
    write_answers(
        predictions,
        json_path=options.json,
        csv_path=options.csv,
        parquet_path=options.parquet,
    )
    if STDOUT not in (options.json, options.csv):
        print_table(predictions)
        if options.explain:
            readable = [path for path, item in zip(paths, items, strict=True) if item.error is None]
            print_explanations(map(detector.explain, readable))
    print_unreadable(predictions)
    return 1 if options.strict and predictions.unreadable else 0
