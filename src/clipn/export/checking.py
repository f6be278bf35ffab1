"""Compares an exported file with the detector that it was made from."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from clipn.errors import ModelError
from clipn.export.graph import DetectorGraph
from clipn.export.metadata import ExportMetadata
from clipn.export.preprocessing import Preprocessing
from clipn.export.runtime import open_session

__all__ = ["TOLERANCE", "check_export", "sample_pixels"]

TOLERANCE = 1e-4
"""How far a cosine, or a score relative to its size, may be from torch's in float32."""


def sample_pixels(metadata: ExportMetadata, *, count: int = 5) -> Float[np.ndarray, "count 3 h w"]:
    """Preprocessed pictures of random patches, fine and coarse; the same each time."""
    from PIL import Image

    preprocess = Preprocessing.from_config(metadata.preprocess)
    generator = np.random.default_rng(0)
    pictures = []
    for side in range(2, 2 + count):
        patches = generator.integers(0, 256, (side * side, side * side, 3), dtype=np.uint8)
        pictures.append(preprocess(Image.fromarray(patches).resize((640, 480))))
    return np.stack(pictures)


def check_export(path: Path, graph: DetectorGraph, metadata: ExportMetadata) -> None:
    """Run the file on samples, several at once and one alone, and compare with torch.

    Args:
        path: The file.
        graph: What it was made from.
        metadata: What it says about itself.

    Raises:
        ModelError: If an output is not the same.
    """
    session = open_session(path)
    pixels = sample_pixels(metadata)
    inputs: dict[str, np.ndarray] = {}
    if metadata.banks == "input":
        banks = {"bank_yes": graph.bank_yes, "bank_no": graph.bank_no}
        inputs = {name: bank.numpy() for name, bank in banks.items() if bank is not None}
    with torch.inference_mode():
        expected = graph(torch.from_numpy(pixels))._asdict()
    for rows in (slice(None), slice(1)):
        outputs = session.run({"image": pixels[rows], **inputs})
        for name, tensor in expected.items():
            if tensor is not None:
                _compare(name, outputs[name], tensor.numpy()[rows], tau=metadata.tau)


def _compare(name: str, found: np.ndarray, expected: np.ndarray, *, tau: float) -> None:
    """Raise ModelError if an output differs from what torch computes."""
    if found.shape != expected.shape:
        raise ModelError(
            f"The exported file answers with {name} of shape {found.shape}; it must be "
            f"{expected.shape}."
        )
    scale = tau if name.startswith("logits") else np.maximum(1.0, np.abs(expected))
    difference = float(np.max(np.abs(found.astype(float) - expected) / scale))
    if not difference <= TOLERANCE:
        raise ModelError(
            f"The exported file computes {name} otherwise than torch: they differ by "
            f"{difference:.2g}, and {TOLERANCE:g} is allowed. It was not kept."
        )
