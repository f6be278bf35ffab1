"""The compact model on scikit-image's photographs: a table, and a page to look at."""

import importlib.util
import shutil
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from clipn.cli.outputs import print_table
from clipn.files import write_aside

# Photographs only: scikit-image also ships diagrams, test patterns and masks.
PICTURES = (
    "chelsea.png",
    "coffee.png",
    "astronaut.png",
    "rocket.jpg",
    "motorcycle_left.png",
    "coins.png",
    "moon.png",
    "hubble_deep_field.jpg",
    "retina.jpg",
    "ihc.png",
    "brick.png",
    "grass.png",
    "gravel.png",
    "clock_motion.png",
)
# The first two are there to be seen; no picture shows any of the others.
CLASS_NAMES = ("tabby cat", "espresso", "school bus", "pizza", "sports car")


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of `clipn demo`."""

    out_dir: Path = Path("demo")
    """Gets the photographs, and index.html, the page of pictures."""

    classes: tuple[str, ...] = CLASS_NAMES
    """What the pictures may show."""


def run(options: Options) -> int:
    """Detect, print, write the page; returns the exit code."""
    photos = options.out_dir / "photos"
    pictures = [copy_whole(source, photos / source.name) for source in find_pictures()]
    from clipn.detector import Detector
    from clipn.model import load_model
    from clipn.report.pictures import write_picture_page

    detector = Detector(load_model("compact"), options.classes)
    answers = detector.predict(pictures)
    print_table(answers)
    page = options.out_dir / "index.html"
    write_picture_page(
        page,
        answers,
        pictures,
        detector.class_names,
        title="clipn: one of these classes, or none",
        note="A demonstration model, taught on 64-pixel images of 210 classes.",
    )
    Console(soft_wrap=True).print(f"Pictures: {page}", markup=False, highlight=False)
    return 0


def copy_whole(source: Path, target: Path) -> Path:
    """Copy a file whole or not at all; returns where it is now."""
    with write_aside(target) as aside:
        shutil.copyfile(source, aside)
    return target


def find_pictures() -> list[Path]:
    """The photographs, out of the installed scikit-image.

    Raises:
        DataError: If scikit-image is not installed.
    """
    from clipn.errors import DataError

    # The package is only found, not imported: its files are all that is needed of it.
    spec = importlib.util.find_spec("skimage")
    if spec is None or spec.origin is None:
        raise DataError(
            "The demo's photographs come with scikit-image, which is not installed: "
            "pip install 'clipn[demo]'."
        )
    folder = Path(spec.origin).parent / "data"
    return [folder / name for name in PICTURES if (folder / name).exists()]
