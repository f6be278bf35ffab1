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
    from clipn.detector import Detector
    from clipn.export.onnx_detector import OnnxDetector
    from clipn.image_detector import ImageDetector


@dataclass(frozen=True, kw_only=True)
class SourceOptions(DetectorOptions):
    """What names a detector that was saved, instead of what makes one."""

    detector: Path | None = None
    """A detector folder from `clipn calibrate`, instead of --classes, --model and --score; or a
    file from `clipn export`. A file that takes its classes as input gets them from the detector
    folder that --classes names."""

    runtime: Literal["torch", "onnx", "openvino"] | None = None
    """What runs the detector: torch for folders and models, onnx or openvino for exported files."""


@dataclass(frozen=True, kw_only=True)
class OpeningOptions(SourceOptions):
    """What names a detector, and what decides."""

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
    saved = open_saved(options, rule=options.rule, threshold=options.threshold)
    if saved is not None:
        return saved
    return build_detector(options, rule=options.rule, threshold=options.threshold)


def open_saved(
    options: SourceOptions,
    *,
    rule: Literal["ctw", "atd"] | None = None,
    threshold: float | None = None,
) -> "Detector | OnnxDetector | None":
    """The detector that was saved, a folder or an exported file; None where none is named.

    Args:
        options: Where it is, and what runs it.
        rule: What decides; exported files only.
        threshold: Likewise.

    Raises:
        ClipnError: If it cannot be read.
        ValueError: If options do not fit each other.
    """
    path = options.detector
    if path is not None:
        refuse_beside_detector(options)
        if path.is_file():
            return _open_file(path, options, rule=rule, threshold=threshold)
    if options.runtime not in (None, "torch"):
        raise ValueError(
            f"--runtime {options.runtime} runs exported files: clipn export, then --detector FILE."
        )
    if path is None:
        return None
    if options.classes is not None:
        raise ValueError("--detector brings its own classes; leave --classes out.")
    for name, value in (("rule", rule), ("threshold", threshold)):
        if value is not None:
            raise ValueError(f"A detector folder decides as it was saved; leave --{name} out.")
    from clipn.detector import Detector

    detector = Detector.load(path, device=check_device(options.device))
    detector.decoding = options.decoding
    return detector


def _open_file(
    path: Path,
    options: SourceOptions,
    *,
    rule: Literal["ctw", "atd"] | None,
    threshold: float | None,
) -> "OnnxDetector":
    """An exported file, without torch."""
    if options.runtime == "torch":
        raise ValueError(f"{path} is an exported file, which torch does not run; leave --runtime.")
    if options.device != "cpu":
        raise ValueError(f"Exported files run on the CPU; got --device {options.device}.")
    from clipn.export.onnx_detector import OnnxDetector

    return OnnxDetector(
        path,
        classes=options.classes,
        rule=rule,
        threshold=threshold,
        runtime=options.runtime or "onnx",
        decoding=options.decoding,
    )
