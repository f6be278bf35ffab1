"""The JSON file that says what a model or detector folder holds."""

from pathlib import Path
from typing import Any

from clipn.errors import ModelError
from clipn.files import read_json


def read_folder_config(path: Path, *, kind: str, format_version: int) -> dict[str, Any]:
    """Read the configuration of a folder.

    Args:
        path: The JSON file.
        kind: What the folder is, for messages: "model" or "detector".
        format_version: The one that can be read.

    Raises:
        ModelError: If it is missing, damaged, or of another format.
    """
    try:
        config = read_json(path)
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{path.parent} is no {kind} folder: {path.name} cannot be read ({error})."
        ) from error
    if not isinstance(config, dict) or "format_version" not in config:
        raise ModelError(f"{path} is not a clipn configuration: it has no format_version.")
    if config["format_version"] != format_version:
        raise ModelError(
            f"{path} has format version {config['format_version']!r}; "
            f"this clipn reads version {format_version}."
        )
    return config
