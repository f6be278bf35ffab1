"""Set a detector's threshold from images of its classes, and save it as a folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from clipn.cli.inputs import DetectorOptions, build_detector, find_inputs
from clipn.cli.outputs import show_progress


@dataclass(frozen=True, kw_only=True)
class Options(DetectorOptions):
    """Options of `clipn calibrate`."""

    images: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="IMAGES")] = ()
    """Images of the classes: files, folders, patterns, or - for paths on standard input."""

    out_dir: Path
    """Gets the detector."""

    tpr: float = 0.95
    """Share of the images that the threshold keeps."""


def run(options: Options) -> int:
    """Calibrate and save; returns the exit code."""
    if not options.images:
        raise ValueError("IMAGES are missing: name files or folders with images of the classes.")
    paths = find_inputs(options.images)
    detector = build_detector(options)
    with show_progress() as progress:
        images = progress.track(paths, description="calibrating")
        threshold = detector.calibrate(images, tpr=options.tpr)
    detector.save(options.out_dir)
    Console(soft_wrap=True).print(
        f"Threshold {threshold:.6g} of the score {detector.score_name} keeps {options.tpr:.0%} of "
        f"{len(paths)} images.\nSaved: clipn detect PHOTOS --detector {options.out_dir}",
        markup=False,
        highlight=False,
    )
    return 0
