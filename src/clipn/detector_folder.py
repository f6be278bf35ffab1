"""What a detector folder says, as a value; reading it takes no torch."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from clipn.errors import ModelError
from clipn.files import file_crc32, write_json
from clipn.folder_config import read_folder_config

__all__ = ["BANKS", "CONFIG", "DetectorConfig", "read_detector_config", "write_detector_config"]

FORMAT_VERSION = 1
CONFIG, BANKS = "detector.json", "banks.safetensors"


@dataclass(frozen=True, kw_only=True)
class DetectorConfig:
    """The settings of a detector; its banks lie beside them.

    Attributes:
        model: The name that loads the model; None where it is a folder within.
        model_fingerprint: See `CLIPN.fingerprint`.
        class_names: In the order of the banks' rows.
        templates: What the banks average over.
        score: Which score is taken.
        rule: What decides; None where nothing does yet.
        threshold: Of the rule "threshold"; a list of one for each class where they have their own.
        calibration: Where the threshold is from (see `clipn.calibration`); None if it was given.
        banks_crc32: Of the file of the banks; None where nobody noted it.
    """

    model: str | None
    model_fingerprint: str
    class_names: list[str]
    templates: list[str]
    score: str
    rule: str | None
    threshold: float | list[float] | None
    calibration: dict[str, Any] | None
    banks_crc32: int | None = None


def read_detector_config(folder: Path) -> DetectorConfig:
    """Read the settings of a detector folder.

    Raises:
        ModelError: If they are missing, incomplete or of another format.
    """
    path = folder / CONFIG
    values = read_folder_config(path, kind="detector", format_version=FORMAT_VERSION)
    values.setdefault("banks_crc32", None)
    names = DetectorConfig.__dataclass_fields__
    if missing := [name for name in names if name not in values]:
        raise ModelError(f"{path} lacks {', '.join(missing)}.")
    config = DetectorConfig(**{name: values[name] for name in names})
    try:
        found = file_crc32(folder / BANKS)
    except OSError as error:
        raise ModelError(f"{folder / BANKS} cannot be read: {error}") from error
    if config.banks_crc32 not in (None, found):
        raise ModelError(
            f"{folder / BANKS} is not the file that {CONFIG} speaks of: it is damaged or was "
            "replaced. Make the detector anew."
        )
    return config


def write_detector_config(folder: Path, config: DetectorConfig) -> None:
    """Write the settings of a detector folder, whole or not at all."""
    write_json(folder / CONFIG, {"format_version": FORMAT_VERSION, **asdict(config)})
