"""Detectors and the files that were exported from them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from clipn.detector import Detector
from clipn.model import CLIPN

NAMES = ["cat", "espresso", "school bus"]
Export = Callable[[str], tuple[Detector, Path]]


@pytest.fixture(scope="session")
def pictures() -> list[Image.Image]:
    """Random patches, of sizes and shapes that differ."""
    generator = np.random.default_rng(0)
    sizes = [(40, 36), (64, 64), (33, 90), (300, 200), (31, 17), (120, 121)]
    return [
        Image.fromarray(generator.integers(0, 256, (side, side, 3), dtype=np.uint8)).resize(size)
        for side in (2, 5)
        for size in sizes
    ]


@pytest.fixture(scope="session")
def export(
    _tiny_models: dict[str, CLIPN],
    compact_model: CLIPN,
    tmp_path_factory: pytest.TempPathFactory,
) -> Export:
    """A detector and its file by name, exported when first asked for."""
    from clipn.export.writing import export_detector

    torch.manual_seed(0)
    made: dict[str, tuple[Detector, Path]] = {}

    def make(name: str) -> tuple[Detector, Path]:
        if name not in made:
            kind, _, decision = name.partition(" ")
            model = compact_model if kind == "compact" else _tiny_models[kind]
            if decision.startswith("threshold"):
                detector = Detector(model, NAMES, score="msp", threshold=0.5)
            elif decision == "nothing":
                detector = Detector(model, NAMES, score="energy")
            else:
                detector = Detector(model, NAMES, score=decision)
            path = tmp_path_factory.mktemp("exported") / "detector.onnx"
            export_detector(detector, path, banks="input" if "input" in decision else "constant")
            made[name] = detector, path
        return made[name]

    return make
