"""Write a detector as one file for production, which runs without torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro
from rich.console import Console

from clipn.cli.inputs import DetectorOptions, build_detector, find_inputs

if TYPE_CHECKING:
    from clipn.export.metadata import ExportMetadata


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

    int8: bool = False
    """Compute the image tower in 8 bits: a quarter of the size, and several times as fast where the
    processor has instructions for it. Answers differ a little."""

    calibrate_on: tuple[str, ...] = ()
    """For --int8: files, folders or patterns of a hundred or more images such as it will see, none
    that anything is measured on."""

    rule: Literal["ctw", "atd"] | None = None
    """Decide by this rule of the paper; by default the score's own."""

    threshold: float | None = None
    """Refuse images that score below it, instead of deciding by a rule."""


def run(options: Options) -> int:
    """Export; returns the exit code."""
    if options.detector is not None and options.classes is not None:
        raise ValueError("A detector folder brings its own classes; leave --classes out.")
    if options.int8 != bool(options.calibrate_on):
        raise ValueError("--int8 and --calibrate-on IMAGES belong together.")
    from clipn.detector import Detector
    from clipn.export.writing import export_detector

    images = find_inputs(options.calibrate_on) if options.int8 else ()
    if options.detector is None:
        detector = build_detector(options, rule=options.rule, threshold=options.threshold)
    else:
        detector = Detector.load(options.detector)
    metadata = export_detector(
        detector,
        options.out,
        banks=options.banks,
        precision="int8" if options.int8 else "float32",
        calibration_images=images,
    )
    Console(soft_wrap=True).print(_summarise(options.out, metadata), markup=False, highlight=False)
    return 0


def _summarise(path: Path, metadata: "ExportMetadata") -> str:
    """What was written, how far it can be trusted, and what to do with it."""
    size = path.stat().st_size / 1e6
    trust = "its answers are the detector's within 1e-4"
    if metadata.agreement is not None:
        trust = f"mean cosine of its embeddings to float32: {metadata.agreement:.4f}"
    classes = " --classes DETECTOR_FOLDER" if metadata.banks == "input" else ""
    return (
        f"{path}: {size:.1f} MB, {metadata.precision}, score {metadata.score}; {trust}.\n"
        f"Use: clipn detect PHOTOS --detector {path}{classes}"
    )
