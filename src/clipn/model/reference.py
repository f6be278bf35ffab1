"""Checkpoints of the reference implementation, `epoch_N.pt`, read without running any code."""

import pickle
import struct
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import Any

import open_clip
import torch
from torch import Tensor

from clipn.errors import ModelError
from clipn.files import read_json
from clipn.model.base import BaseClip, build_base, check_architecture_name
from clipn.model.clipn import CLIPN
from clipn.model.folder import refuse_misfits
from clipn.model.text_tower import is_finite

TEXT_PARTS = (
    "transformer",
    "token_embedding",
    "positional_embedding",
    "ln_final",
    "text_projection",
)

FOLDER_MARK = 0x10  # of MS-DOS
DAMAGE = (
    OSError, EOFError, RuntimeError, ValueError, TypeError, AttributeError, LookupError,
    AssertionError, ArithmeticError, MemoryError, struct.error, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
"""What torch and zipfile raise at damaged files; none of it is theirs alone."""


def import_reference_checkpoint(path: Path, architecture: str | Path) -> CLIPN:
    """Read a checkpoint of either variant; the prompts in it tell which it is.

    Args:
        path: The checkpoint: a dict with `state_dict`, or a state dict itself.
        architecture: A name of open_clip's, or a JSON file with a model configuration of its kind,
            since the checkpoint stores none.

    Returns:
        A self-contained model: base and "no" weights both come from the checkpoint.

    Raises:
        ModelError: If the file cannot be read safely, or does not fit the architecture.
    """
    state = {_rename(key): tensor.float() for key, tensor in _read_state_dict(path).items()}
    model = CLIPN(_build_architecture(architecture))
    if not any(key.startswith("no_tower.text.") for key in state):
        raise ModelError(f"{path} holds no weights of a no tower (transformer_no.* and others).")
    if "no_tower.prompts" in state:
        model.add_no_tower(variant="learnable", num_prompts=len(state["no_tower.prompts"]))
    else:
        model.add_no_tower(variant="handcrafted")
    refuse_misfits(
        {_reference_name(key): tuple(tensor.shape) for key, tensor in state.items()},
        {_reference_name(key): tuple(t.shape) for key, t in model.state_dict().items()},
        what=str(path),
    )
    model.load_state_dict(state)
    if not is_finite(model):
        raise ModelError(f"{path} holds weights that are NaN or infinite.")
    return model.eval()


def _read_state_dict(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint, by key without the prefix `module.`."""
    content = _load(path)
    state = content.get("state_dict", content) if isinstance(content, dict) else None
    if not isinstance(state, dict) or not state:
        raise ModelError(f"{path} holds no state_dict.")
    if strays := [key for key, value in state.items() if not isinstance(value, Tensor)]:
        raise ModelError(
            f"{path} holds entries that are not weights: {', '.join(map(str, strays[:6]))}."
        )
    return {str(key).removeprefix("module."): value for key, value in state.items()}


def _load(path: Path) -> Any:
    """What a checkpoint holds, refused if it is damaged or more than tensors and plain values."""
    try:
        if zipfile.is_zipfile(path):  # those of old torch are none, and have no checksums
            with zipfile.ZipFile(path) as archive:
                if damaged := _find_damage(archive):
                    raise ModelError(f"{path} is damaged: {damaged} in it is not what was written.")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of protocols of pickle
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"{path} was refused: reading it would run code or unknown types "
            f"({str(error).splitlines()[0]})."
        ) from error
    except DAMAGE as error:
        raise ModelError(f"{path} cannot be read as a checkpoint: {error!r}") from error


def _find_damage(archive: zipfile.ZipFile) -> str | None:
    """The name of a part whose content torch would get wrong without a word; None if all is well.

    It compares no checksums, and for a part that is marked as a folder gives what is in memory.
    """
    marked = (entry.filename for entry in archive.infolist() if entry.external_attr & FOLDER_MARK)
    return next(marked, None) or archive.testzip()


def _build_architecture(architecture: str | Path) -> BaseClip:
    """An untrained CLIP from a JSON file or one of open_clip's names."""
    path = Path(architecture)
    if path.suffix == ".json":
        try:
            config = read_json(path)
        except (OSError, ValueError) as error:
            raise ModelError(f"{path} cannot be read as a model configuration: {error}") from error
        if not isinstance(config, dict):
            raise ModelError(
                f"{path} is no model configuration: it holds a {type(config).__name__}."
            )
        return build_base(config, name=path.stem)
    name = str(architecture)
    check_architecture_name(name)
    return build_base(open_clip.get_model_config(name) or {}, name=name)


def _rename(key: str) -> str:
    """A key of the reference as ours: `ln_final_no.bias` -> `no_tower.text.ln_final.bias`."""
    if key == "prompt_no":
        return "no_tower.prompts"
    part, dot, rest = key.partition(".")
    if part in TEXT_PARTS:
        return f"text.{part}{dot}{rest}"
    if part.endswith("_no") and part.removesuffix("_no") in TEXT_PARTS:
        return f"no_tower.text.{part.removesuffix('_no')}{dot}{rest}"
    return key


def _reference_name(key: str) -> str:
    """A key of ours as the reference's, for messages about its files."""
    if key == "no_tower.prompts":
        return "prompt_no"
    if key.startswith("no_tower.text."):
        part, dot, rest = key.removeprefix("no_tower.text.").partition(".")
        return f"{part}_no{dot}{rest}"
    return key.removeprefix("text.")
