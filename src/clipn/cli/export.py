"""Write a detector as one file for production, which runs without torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.console import Console

from clipn.cli.inputs import DetectorOptions, build_detector


@dataclass(frozen=True, kw_only=True)
class Options(DetectorOptions):
    """Options of `clipn export`."""

    detector: Annotated[Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="DETECTOR")] = None
    """A detector folder from `clipn calibrate`; or leave it out and give --classes and --model."""

    out: Path
    """The file to write, as in detector.onnx."""

    format: Literal["onnx"] = "onnx"
    """What to write; ONNX Runtime and OpenVINO run ONNX."""

    banks: Literal["constant", "input"] = "constant"
    """constant keeps the embedded classes in the file; input takes them with each batch of images,
    so that one file serves any classes."""

    rule: Literal["ctw", "atd"] | None = None
    """Decide by this rule of the paper; by default the score's own."""

    threshold: float | None = None
    """Refuse images that score below it, instead of deciding by a rule."""


def run(options: Options) -> int:
    """Export; returns the exit code."""
    if options.detector is not None and options.classes is not None:
        raise ValueError("A detector folder brings its own classes; leave --classes out.")
    from clipn.detector import Detector
    from clipn.export.writing import export_detector

    if options.detector is None:
        detector = build_detector(options, rule=options.rule, threshold=options.threshold)
    else:
        detector = Detector.load(options.detector)
    metadata = export_detector(detector, options.out, banks=options.banks)
    size = options.out.stat().st_size / 1e6
    lines = [
        f"{options.out}: {size:.1f} MB, {metadata.precision}, score {metadata.score}; its answers "
        "are those of the detector.",
        f"Use: clipn detect PHOTOS --detector {options.out}",
    ]
    if metadata.banks == "input":
        lines[1] += " --classes DETECTOR_FOLDER"
    Console(soft_wrap=True).print("\n".join(lines), markup=False, highlight=False)
    return 0
