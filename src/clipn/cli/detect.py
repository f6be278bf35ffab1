"""Name what images show, or say that it is none of the classes."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from clipn.cli.inputs import DetectorOptions, build_detector, check_device, find_inputs
from clipn.cli.outputs import (
    STDOUT,
    print_explanations,
    print_table,
    print_unreadable,
    show_progress,
    write_answers,
)

if TYPE_CHECKING:
    from clipn.explanation import Explanation
    from clipn.image_detector import ImageDetector


@dataclass(frozen=True, kw_only=True)
class Options(DetectorOptions):
    """Options of `clipn detect`."""

    images: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="IMAGES")] = ()
    """Files, folders (with their subfolders), patterns, or - for paths on standard input."""

    detector: Path | None = None
    """A detector folder from `clipn calibrate`, instead of --classes, --model and --score; or a
    file from `clipn export`. A file that takes its classes as input gets them from the detector
    folder that --classes names."""

    runtime: Literal["torch", "onnx", "openvino"] | None = None
    """What runs the detector: torch for folders and models, onnx or openvino for exported files."""

    rule: Literal["ctw", "atd"] | None = None
    """Decide by this rule of the paper; by default the score's own."""

    threshold: float | None = None
    """Refuse images that score below it, instead of deciding by a rule."""

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
    detector = _open_detector(options)
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
            print_explanations(_explain(detector, readable))
    print_unreadable(predictions)
    return 1 if options.strict and predictions.unreadable else 0


def _explain(detector: "ImageDetector", paths: list[Path]) -> Iterator["Explanation"]:
    """Why each image is named or refused."""
    from clipn.detector import Detector

    assert isinstance(detector, Detector), "an exported file was refused when it was opened"
    return map(detector.explain, paths)


def _open_detector(options: Options) -> "ImageDetector":
    """The detector that the options mean, on what they want it run by."""
    if options.detector is not None and options.detector.is_file():
        return _open_file(options.detector, options)
    if options.runtime not in (None, "torch"):
        raise ValueError(
            f"--runtime {options.runtime} runs exported files: clipn export, then --detector FILE."
        )
    from clipn.detector import Detector

    if options.detector is None:
        return build_detector(options, rule=options.rule, threshold=options.threshold)
    if options.classes is not None:
        raise ValueError("--detector brings its own classes; leave --classes out.")
    for name in ("rule", "threshold"):
        if getattr(options, name) is not None:
            raise ValueError(f"A detector folder decides as it was saved; leave --{name} out.")
    detector = Detector.load(options.detector, device=check_device(options.device))
    detector.decoding = options.decoding
    return detector


def _open_file(path: Path, options: Options) -> "ImageDetector":
    """An exported file, without torch."""
    if options.explain:
        raise ValueError("--explain needs a model or a detector folder, not an exported file.")
    if options.runtime == "torch":
        raise ValueError(f"{path} is an exported file, which torch does not run; leave --runtime.")
    if options.device != "cpu":
        raise ValueError(f"Exported files run on the CPU; got --device {options.device}.")
    from clipn.export.onnx_detector import OnnxDetector

    return OnnxDetector(
        path,
        classes=options.classes,
        rule=options.rule,
        threshold=options.threshold,
        runtime=options.runtime or "onnx",
        decoding=options.decoding,
    )
