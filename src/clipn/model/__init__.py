"""CLIP models that can say "no"."""

from clipn.model.base import BaseClip, BaseSource, build_base
from clipn.model.class_bank import ClassBank
from clipn.model.clipn import CLIPN, Logits
from clipn.model.folder import load_model_folder, save_model
from clipn.model.reference import import_reference_checkpoint
from clipn.model.weights import load_model

__all__ = [
    "CLIPN",
    "BaseClip",
    "BaseSource",
    "ClassBank",
    "Logits",
    "build_base",
    "import_reference_checkpoint",
    "load_model",
    "load_model_folder",
    "save_model",
]
