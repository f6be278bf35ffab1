"""Models by name."""

from pathlib import Path

import torch

from clipn.errors import ModelError
from clipn.model.base import load_open_clip_folder, load_pretrained_base
from clipn.model.clipn import CLIPN
from clipn.model.fetching import HUB_PREFIX
from clipn.model.folder import load_model_folder
from clipn.model.hub import load_from_hub

COMPACT_FOLDER = Path(__file__).parent / "compact"
LOCAL_PREFIX = "local-dir:"


def load_model(name: str | Path, *, device: str | torch.device = "cpu") -> CLIPN:
    """Load a model by name.

    Args:
        name: One of
            "compact", the small model that comes with the package and says "no";
            a folder that `model.save`, `clipn train` or `clipn import-checkpoint` wrote;
            "ARCHITECTURE/TAG", a plain CLIP with open_clip's pretrained weights, for example
            "ViT-B-16/laion2b_s34b_b88k";
            "hf-hub:org/name" or "hf-hub:org/name@revision", a model folder or an open_clip model on
            the Hugging Face hub; a commit as revision loads the same weights for ever;
            "local-dir:path", a folder in open_clip's own layout.
        device: Where to put the weights.

    Returns:
        The model in evaluation mode.

    Raises:
        ModelError: If there is no such model, or it cannot be loaded.
    """
    model = _find(str(name)).to(device).eval()
    path = str(name).removeprefix(LOCAL_PREFIX)
    # A folder may move or change, a name loads the same everywhere.
    if path == "compact" or not Path(path).is_dir():
        model.reference = str(name)
    return model


def _find(name: str) -> CLIPN:
    """The model on the CPU."""
    if name == "compact":
        return load_model_folder(COMPACT_FOLDER)
    if name.startswith(HUB_PREFIX):
        return load_from_hub(name)
    if name.startswith(LOCAL_PREFIX):
        return CLIPN(load_open_clip_folder(Path(name.removeprefix(LOCAL_PREFIX)), name=name))
    if Path(name).is_dir():
        return load_model_folder(Path(name))
    architecture, slash, tag = name.rpartition("/")
    if not slash or not tag:
        raise ModelError(
            f"There is no model {name!r}: name 'compact', an existing folder, 'hf-hub:org/name', "
            "or an architecture with its pretrained tag, as in 'ViT-B-16/laion2b_s34b_b88k'."
        )
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise ModelError(f"There is no folder {name!r}.")
    return CLIPN(load_pretrained_base(architecture, tag))
