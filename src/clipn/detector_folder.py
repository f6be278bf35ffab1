"""What a detector folder holds: class names, banks, calibration, and the model or its name."""

import json
from pathlib import Path
from typing import Any

from clipn.errors import ModelError

FORMAT_VERSION = 1
CONFIG, BANKS, MODEL = "detector.json", "banks.safetensors", "model"


def read_detector_config(folder: Path) -> dict[str, Any]:
    """Read the configuration of a detector folder.

    Raises:
        ModelError: If it is missing, damaged, or of another format.
    """
    path = folder / CONFIG
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{folder} is no detector folder: {CONFIG} cannot be read ({error})."
        ) from error
    if not isinstance(config, dict) or config.get("format_version") != FORMAT_VERSION:
        raise ModelError(f"{path} is not a detector of format version {FORMAT_VERSION}.")
    required = ("model", "model_fingerprint", "class_names", "templates", "score", "rule")
    if missing := [key for key in (*required, "threshold", "calibration") if key not in config]:
        raise ModelError(f"{path} lacks {', '.join(missing)}.")
    return config
