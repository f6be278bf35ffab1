"""What several commands read: class names, templates, images, detectors."""

import os
import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from clipn.detector import Detector

STDIN = "-"


@dataclass(frozen=True, kw_only=True)
class DetectorOptions:
    """What makes a detector."""

    classes: str | None = None
    """The class names, separated by commas; or a file with one name a line."""

    model: str = "compact"
    """"compact", a model folder, ARCHITECTURE/TAG of open_clip, or hf-hub:org/name@revision."""

    score: Literal["atd", "ctw", "msp", "max_logit", "energy", "mcm"] = "atd"
    """How far an image is from all classes; atd and ctw weigh "yes" against "no"."""

    templates: Path | None = None
    """A file with one prompt template a line, each with one {}; the model's own by default."""

    device: str = "cpu"
    """Where to run: cpu, cuda, cuda:1, ..."""

    decoding: Literal["exact", "reduced"] = "exact"
    """reduced decodes large JPEG files at a fraction of their size: several times faster, scores
    a little different, so calibrate and detect alike."""


def read_lines(path: Path) -> list[str]:
    """The lines of a UTF-8 text file that are not blank.

    Raises:
        DataError: If it cannot be read.
    """
    from clipn.errors import DataError

    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as a text file: {error}") from error
    return [line.strip() for line in text.splitlines() if line.strip()]


def read_class_names(classes: str) -> list[str]:
    """Class names from a comma-separated text or from a file.

    Example:
        >>> read_class_names("tabby cat, espresso")
        ['tabby cat', 'espresso']
    """
    if os.path.isfile(classes):  # noqa: PTH113 - Path.is_file raises for a long list of names
        return read_lines(Path(classes))
    return [name.strip() for name in classes.split(",") if name.strip()]


def refuse_beside_detector(options: DetectorOptions) -> None:
    """Refuse what makes a detector beside one that is there already.

    Raises:
        ValueError: If a model, a score or templates are given.
    """
    for option in fields(DetectorOptions):
        value = getattr(options, option.name)
        if option.name in ("model", "score", "templates") and value != option.default:
            raise ValueError(
                f"--detector brings its own {option.name}; leave --{option.name} {value} out."
            )


def build_detector(
    options: DetectorOptions,
    *,
    rule: Literal["ctw", "atd"] | None = None,
    threshold: float | None = None,
) -> "Detector":
    """A detector from the options.

    Raises:
        ValueError: If no class names are given.
        ModelError: If the model cannot be loaded or lacks what the score needs.
    """
    if options.classes is None:
        raise ValueError(
            '--classes is missing: --classes "tabby cat, espresso", or a file of names.'
        )
    from clipn.detector import Detector
    from clipn.model import load_model

    return Detector(
        load_model(options.model, device=check_device(options.device)),
        read_class_names(options.classes),
        score=options.score,
        rule=rule,
        threshold=threshold,
        templates=read_lines(options.templates) if options.templates else None,
        decoding=options.decoding,
    )


def check_device(device: str) -> str:
    """Return the device, or say why it cannot be used.

    Raises:
        ValueError: If there is no such device.
    """
    import torch

    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0].removesuffix(".")
        if reason.startswith("Expected one of"):  # and some twenty kinds of devices
            reason = "it must be cpu, cuda, cuda:1, mps or another device of PyTorch's"
        raise ValueError(f"--device {device} cannot be used: {reason}.") from error
    return device


def find_inputs(patterns: tuple[str, ...]) -> list[Path]:
    """Images from files, folders, patterns, and from paths on standard input for "-".

    Raises:
        DataError: If a path does not exist or nothing is named.
    """
    from clipn.data.image_files import find_images

    paths: list[str] = []
    for pattern in patterns:
        if pattern == STDIN:
            paths += [line.rstrip("\r\n") for line in sys.stdin if line.strip()]
        else:
            paths.append(pattern)
    return find_images(paths)
