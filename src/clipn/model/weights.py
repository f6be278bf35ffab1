"""Models by name."""

from pathlib import Path

import torch

from clipn.errors import ModelError
from clipn.model.base import load_open_clip_folder, load_pretrained_base
from clipn.model.clipn import CLIPN
from clipn.model.folder import CARD, CONFIG, WEIGHTS, load_model_folder

COMPACT_FOLDER = Path(__file__).parent / "compact"
HUB_PREFIX, LOCAL_PREFIX = "hf-hub:", "local-dir:"
OPEN_CLIP_CONFIG = "open_clip_config.json"


def load_model(name: str | Path, *, device: str | torch.device = "cpu") -> CLIPN:
    """Load a model by name.

    Args:
        name: One of
            "compact", the small model that comes with the package and says "no";
            a folder that `model.save`, `clipn train` or `clipn import-checkpoint` wrote;
            "ARCHITECTURE/TAG", a plain CLIP with open_clip's pretrained weights, for example
            "ViT-B-16/laion2b_s34b_b88k";
            "hf-hub:org/name", a model folder or an open_clip model on the Hugging Face hub;
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
        return _load_from_hub(name)
    if name.startswith(LOCAL_PREFIX):
        return CLIPN(load_open_clip_folder(name))
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


def _load_from_hub(name: str) -> CLIPN:
    """A model folder of ours on the hub, or else an open_clip model there."""
    # Imported here because it takes a quarter of a second that no other model needs.
    from huggingface_hub import snapshot_download

    repository = name.removeprefix(HUB_PREFIX)
    try:
        # Without a network this finds what was downloaded before. In two steps, since a repository
        # of open_clip's may hold gigabytes that nobody needs.
        folder = snapshot_download(repository, allow_patterns=[CONFIG, OPEN_CLIP_CONFIG])
        if not (Path(folder) / OPEN_CLIP_CONFIG).exists():
            folder = snapshot_download(repository, allow_patterns=[CONFIG, WEIGHTS, CARD])
            return load_model_folder(Path(folder))
    except (OSError, ValueError) as error:
        raise ModelError(f"{name} could not be had from the hub: {error}") from error
    return CLIPN(load_open_clip_folder(name))
