"""Set a detector's threshold from images of its classes, and save it as a folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro
from rich.console import Console

from clipn.cli.inputs import DetectorOptions, build_detector, find_inputs
from clipn.cli.outputs import show_progress

if TYPE_CHECKING:
    from clipn.detector import Detector


@dataclass(frozen=True, kw_only=True)
class Options(DetectorOptions):
    """Options of `clipn calibrate`."""

    images: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="IMAGES")] = ()
    """Images of the classes: files, folders, patterns, or - for paths on standard input."""

    out_dir: Path
    """Gets the detector."""

    method: Literal["tpr", "conformal"] = "tpr"
    """tpr keeps a share of these very images; conformal promises to refuse at most a share of
    images not seen yet, among those taken for each class."""

    tpr: float | None = None
    """Of the method tpr: share of the images that the threshold keeps; 0.95 by default."""

    alpha: float | None = None
    """Of the method conformal: share to refuse at most; 0.05 by default."""

    per_class: bool = True
    """Of the method conformal: give each class with enough images a threshold of its own."""


def run(options: Options) -> int:
    """Calibrate and save; returns the exit code."""
    if not options.images:
        raise ValueError("IMAGES are missing: name files or folders with images of the classes.")
    if options.method == "conformal" and options.tpr is not None:
        raise ValueError("--tpr belongs to --method tpr; --method conformal takes --alpha.")
    if options.method == "tpr" and options.alpha is not None:
        raise ValueError("--alpha belongs to --method conformal; --method tpr takes --tpr.")
    paths = find_inputs(options.images)
    detector = build_detector(options)
    with show_progress() as progress:
        images = progress.track(paths, description="calibrating")
        if options.method == "conformal":
            detector.calibrate(
                images, method="conformal", alpha=options.alpha, per_class=options.per_class
            )
        else:
            detector.calibrate(images, method="tpr", tpr=options.tpr)
    detector.save(options.out_dir)
    Console(soft_wrap=True).print(
        f"{_describe(detector)}\nSaved: clipn detect PHOTOS --detector {options.out_dir}",
        markup=False,
        highlight=False,
    )
    return 0


def _describe(detector: "Detector") -> str:
    """The threshold, and what it does."""
    from clipn.calibration import ConformalCalibration
    from clipn.predictions import describe_threshold

    calibration, threshold = detector.calibration, detector.threshold
    assert calibration is not None
    if isinstance(calibration, ConformalCalibration):
        return (
            f"Threshold {describe_threshold(threshold)}, of the score {detector.score_name}: at "
            f"most {calibration.alpha:.3g} of new images of the classes are refused, in "
            f"expectation; from {calibration.num_images} images."
        )
    return (
        f"Threshold {threshold:.6g} of the score {detector.score_name} keeps "
        f"{calibration.tpr:.0%} of {calibration.num_images} images."
    )
