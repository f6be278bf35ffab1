"""Teach a CLIP model to say "no", and use it: zero-shot out-of-distribution detection (CLIPN).

    import clipn

    model = clipn.load_model("compact")
    detector = clipn.Detector(model, ["tabby cat", "espresso", "school bus"])
    answers = detector.predict(["a.jpg", "b.jpg"])
    answers[0].label  # a class name, or "none of these"

The names are loaded when they are first used: `import clipn` alone does not import torch.
"""

import importlib
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clipn import benchmarks, data, losses, metrics, model, scores, training
    from clipn.benchmarks import EvaluationOptions, evaluate
    from clipn.detector import Detector
    from clipn.errors import (
        ClipnError,
        DataError,
        ModelError,
        NotCalibratedError,
        TrainingError,
    )
    from clipn.export.onnx_detector import OnnxDetector
    from clipn.export.writing import export_detector
    from clipn.model import CLIPN, ClassBank, import_reference_checkpoint, load_model
    from clipn.predictions import Prediction, Predictions
    from clipn.training import PairsConfig, TrainConfig, train

__all__ = [
    "CLIPN",
    "ClassBank",
    "ClipnError",
    "DataError",
    "Detector",
    "EvaluationOptions",
    "ModelError",
    "NotCalibratedError",
    "OnnxDetector",
    "PairsConfig",
    "Prediction",
    "Predictions",
    "TrainConfig",
    "TrainingError",
    "__version__",
    "benchmarks",
    "data",
    "evaluate",
    "export_detector",
    "import_reference_checkpoint",
    "load_model",
    "losses",
    "metrics",
    "model",
    "scores",
    "train",
    "training",
]

__version__ = version("clipn")

_HOMES = {
    "clipn.benchmarks": ("EvaluationOptions", "evaluate"),
    "clipn.detector": ("Detector",),
    "clipn.errors": (
        "ClipnError",
        "DataError",
        "ModelError",
        "NotCalibratedError",
        "TrainingError",
    ),
    "clipn.export.onnx_detector": ("OnnxDetector",),
    "clipn.export.writing": ("export_detector",),
    "clipn.model": ("CLIPN", "ClassBank", "import_reference_checkpoint", "load_model"),
    "clipn.predictions": ("Prediction", "Predictions"),
    "clipn.training": ("PairsConfig", "TrainConfig", "train"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
_MODULES = ("benchmarks", "data", "losses", "metrics", "model", "scores", "training")


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"clipn.{name}")
    if name in _HOME_OF:
        return getattr(importlib.import_module(_HOME_OF[name]), name)
    raise AttributeError(f"module 'clipn' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
