"""Model folders: `config.json`, `model.safetensors` with what was trained, and a model card.

Nothing in a folder is ever executed or unpickled.
"""

from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from clipn.errors import ModelError
from clipn.files import file_sha256, write_json, write_tensors, write_text
from clipn.folder_config import read_folder_config
from clipn.model.base import build_base, load_pretrained_base
from clipn.model.card import write_card
from clipn.model.clipn import CLIPN, FROZEN_PREFIXES
from clipn.model.text_tower import is_finite

FORMAT_VERSION = 1
CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
TOKEN_EMBEDDINGS = ("text.token_embedding.weight", "no_tower.text.token_embedding.weight")


def save_model(
    model: CLIPN,
    folder: Path,
    *,
    dtype: Literal["float32", "float16"] = "float32",
    training: dict[str, Any] | None = None,
    card: str | None = None,
) -> None:
    """Write a model folder; each file is replaced whole, the configuration last.

    The frozen towers are left out where open_clip can load them again by their pretrained tag.

    Args:
        model: What to save.
        folder: Made if missing.
        dtype: Precision of the stored weights.
        training: What the model was taught with, kept in the configuration.
        card: Text of the model card; a short one by default.

    Raises:
        OSError: If a file cannot be written.
    """
    keeps_base = model.source.pretrained is None
    state = {
        name: _stored(tensor, getattr(torch, dtype))
        for name, tensor in model.state_dict().items()
        if keeps_base or not name.startswith(FROZEN_PREFIXES)
    }
    if model.known_tokens is not None:
        known = model.known_tokens.cpu()
        state |= {name: state[name][known] for name in TOKEN_EMBEDDINGS if name in state}
        state["known_tokens"] = known
    write_tensors(folder / WEIGHTS, state)
    config = {
        "format_version": FORMAT_VERSION,
        "package_version": version("clipn"),
        "name": model.source.name,
        "pretrained": model.source.pretrained,
        "architecture": model.source.architecture,
        "preprocess": model.source.preprocess,
        "variant": model.variant,
        "num_prompts": 0 if model.no_tower is None else model.no_tower.num_prompts,
        "tau": model.tau,
        "templates": list(model.templates),
        "negated_templates": list(model.negated_templates),
        "training": training,
        "weights_sha256": file_sha256(folder / WEIGHTS),
    }
    write_text(folder / CARD, card or write_card(config))
    write_json(folder / CONFIG, config)


def _stored(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """A weight as it is written; counts such as batch norm's stay whole numbers."""
    tensor = tensor.detach().cpu().contiguous()
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


def load_model_folder(folder: Path) -> CLIPN:
    """Read a model folder.

    Raises:
        ModelError: If a file is missing, damaged, of another format, or its weights do not fit.
    """
    config = read_model_config(folder)
    try:
        found, expected = file_sha256(folder / WEIGHTS), config.get("weights_sha256")
        if found != expected:
            raise ModelError(
                f"{folder / WEIGHTS} is not the file that {CONFIG} speaks of: its SHA-256 is "
                f"{found}, not {expected}. It is damaged or was replaced; get the folder anew."
            )
        state = load_file(folder / WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{folder / WEIGHTS} cannot be read: {error}") from error
    try:
        model = _build(config)
    except (AssertionError, KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{folder / CONFIG} is damaged: {error!r}") from error
    _load_state(model, state, folder=folder)
    return model


def read_model_config(folder: Path) -> dict[str, Any]:
    """The configuration of a model folder.

    Raises:
        ModelError: If there is none, or it is of another format.
    """
    return read_folder_config(folder / CONFIG, kind="model", format_version=FORMAT_VERSION)


def _build(config: dict[str, Any]) -> CLIPN:
    """A model of the configuration's shape."""
    if config["pretrained"] is None:
        base = build_base(
            config["architecture"], name=config["name"], preprocess=config["preprocess"]
        )
    else:
        base = load_pretrained_base(config["name"], config["pretrained"])
    model = CLIPN(base)
    if config["variant"] is not None:
        model.add_no_tower(variant=config["variant"], num_prompts=config["num_prompts"])
    model.templates = tuple(config["templates"])
    model.negated_templates = tuple(config["negated_templates"])
    return model.eval()


def _load_state(model: CLIPN, state: dict[str, Tensor], *, folder: Path) -> None:
    """Fill a model with the stored weights; frozen towers that were left out stay as they are."""
    model.known_tokens = state.pop("known_tokens", None)
    if model.known_tokens is not None:
        for name in TOKEN_EMBEDDINGS:
            if name in state:
                rows = torch.zeros_like(model.state_dict()[name])
                _check_known_tokens(model.known_tokens, state[name], rows, folder=folder)
                rows[model.known_tokens] = state[name].to(rows.dtype)
                state[name] = rows
    expected = model.state_dict()
    if model.source.pretrained is not None:
        expected = {k: v for k, v in expected.items() if not k.startswith(FROZEN_PREFIXES)}
    refuse_misfits(
        {name: tuple(tensor.shape) for name, tensor in state.items()},
        {name: tuple(tensor.shape) for name, tensor in expected.items()},
        what=str(folder / WEIGHTS),
    )
    model.load_state_dict(state, strict=False)
    if not is_finite(model):
        raise ModelError(f"{folder / WEIGHTS} holds weights that are NaN or infinite.")


def _check_known_tokens(known: Tensor, stored: Tensor, rows: Tensor, *, folder: Path) -> None:
    """Refuse token numbers that are none, or not one for each stored embedding."""
    is_whole = known.dtype == torch.int64 and known.ndim == 1
    if not (is_whole and stored.shape == (len(known), *rows.shape[1:])):
        raise ModelError(f"{folder / WEIGHTS} has no token for each of its token embeddings.")
    if len(known) and not 0 <= int(known.min()) <= int(known.max()) < len(rows):
        raise ModelError(f"{folder / WEIGHTS} names tokens beyond the {len(rows)} that there are.")


def refuse_misfits(
    found: dict[str, tuple[int, ...]], expected: dict[str, tuple[int, ...]], *, what: str
) -> None:
    """Compare the names and shapes of weights with those that a model has.

    Raises:
        ModelError: If they differ, naming up to six keys of each kind of difference.
    """
    complaints = {
        "missing": sorted(expected.keys() - found.keys()),
        "unexpected": sorted(found.keys() - expected.keys()),
        "of another shape": [
            f"{name} {found[name]} instead of {expected[name]}"
            for name in sorted(found.keys() & expected.keys())
            if found[name] != expected[name]
        ],
    }
    parts = [
        f"{kind}: {', '.join(names[:6])}"
        + (f" and {len(names) - 6} more" if len(names) > 6 else "")
        for kind, names in complaints.items()
        if names
    ]
    if parts:
        raise ModelError(f"{what} does not fit the architecture; {'; '.join(parts)}.")
