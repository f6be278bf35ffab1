"""Opens the detector that options name: of a model, of a folder, or an exported file."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from clipn.cli.inputs import (
    DetectorOptions,
    build_detector,
    check_device,
    refuse_beside_detector,
)

if TYPE_CHECKING:
    from clipn.image_detector import ImageDetector


@dataclass(frozen=True, kw_only=True)
class OpeningOptions(DetectorOptions):
    """What names a detector, and what decides."""

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


def open_detector(options: OpeningOptions) -> "ImageDetector":
    """The detector that the options mean, on what they want it run by.

    Raises:
        ClipnError: If model, detector or file cannot be read.
        ValueError: If options do not fit each other.
    """
    if options.detector is not None:
        refuse_beside_detector(options)
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


def _open_file(path: Path, options: OpeningOptions) -> "ImageDetector":
    """An exported file, without torch."""
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
