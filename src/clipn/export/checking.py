"""Compares an exported file with the detector that it was made from."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from PIL import Image
from torch import Tensor

from clipn.errors import ModelError
from clipn.export.graph import DetectorGraph
from clipn.export.metadata import ExportMetadata
from clipn.export.preprocessing import Preprocessing
from clipn.export.runtime import open_session

__all__ = ["MIN_AGREEMENT", "TOLERANCE", "check_export", "measure_agreement"]

TOLERANCE = 1e-4
"""How far a cosine, or a score relative to its size, may be from torch's in float32."""

MIN_AGREEMENT = 0.95
"""The least mean cosine of embeddings in int8 to those in float32."""


def _sample_pixels(metadata: ExportMetadata, *, count: int = 5) -> Float[np.ndarray, "count 3 h w"]:
    """Preprocessed pictures of random patches, fine and coarse; the same each time."""
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
    pixels = _sample_pixels(metadata)
    inputs = graph.bank_inputs(metadata.banks)
    for part in (pixels, pixels[:1]):
        outputs = session.run({"image": part, **inputs})
        with torch.inference_mode():
            expected = graph(torch.from_numpy(part))
            clear = _are_clear(graph, expected.embedding).numpy()
        for name, tensor in expected._asdict().items():
            if tensor is None:
                continue
            is_choice = not tensor.is_floating_point()
            rows = clear if is_choice else slice(None)
            _compare(name, outputs[name][rows], tensor.numpy()[rows], tau=metadata.tau)


def measure_agreement(
    path: Path,
    graph: DetectorGraph,
    metadata: ExportMetadata,
    batches: Sequence[Float[np.ndarray, "_ 3 height width"]],
) -> float:
    """How close the embeddings of a file in int8 come to those of torch in float32.

    Args:
        path: The file.
        graph: What it was made from.
        metadata: What it says about itself.
        batches: Preprocessed images.

    Returns:
        The mean cosine.

    Raises:
        ModelError: If it is below `MIN_AGREEMENT`.
    """
    session = open_session(path)
    inputs = graph.bank_inputs(metadata.banks)
    cosines = []
    for pixels in batches:
        found = session.run({"image": pixels, **inputs})["embedding"]
        with torch.inference_mode():
            expected = graph(torch.from_numpy(pixels)).embedding.numpy()
        cosines.append((found * expected).sum(axis=1))
    agreement = float(np.concatenate(cosines).mean())
    if not agreement >= MIN_AGREEMENT:
        raise ModelError(
            f"The image tower does not bear int8: the mean cosine of its embeddings to those in "
            f"float32 is {agreement:.3f}, and {MIN_AGREEMENT} is asked for. No file was written."
        )
    return agreement


def _are_clear(
    graph: DetectorGraph, embedding: Float[Tensor, "batch dim"]
) -> Bool[Tensor, " batch"]:
    """Whether all decisions about an image stay as they are when every embedding moves a little."""
    generator = torch.Generator().manual_seed(0)

    def move(rows: Tensor | None) -> Tensor | None:
        """Every embedding, moved a little."""
        if rows is None:
            return None
        return rows + TOLERANCE / 10 * torch.randn(rows.shape, generator=generator)

    still = torch.ones(len(embedding), dtype=torch.bool)
    judged = graph.judge(embedding)
    for _ in range(8):
        other = graph.judge(embedding, move(graph.bank_yes), move(graph.bank_no))
        for mine, theirs in ((judged.refusals, other.refusals), (judged.decision, other.decision)):
            if mine is not None and theirs is not None:
                still &= (mine == theirs).reshape(len(still), -1).all(dim=1)
    return still


def _compare(name: str, found: np.ndarray, expected: np.ndarray, *, tau: float) -> None:
    """Raise ModelError if an output differs from what torch computes."""
    if found.shape != expected.shape:
        raise ModelError(
            f"The exported file answers with {name} of shape {found.shape}; it must be "
            f"{expected.shape}."
        )
    scale = tau if name.startswith("logits") else np.maximum(1.0, np.abs(expected))
    difference = float(np.max(np.abs(found.astype(float) - expected) / scale, initial=0.0))
    if not difference <= TOLERANCE:
        raise ModelError(
            f"The exported file computes {name} otherwise than torch: they differ by "
            f"{difference:.2g}, and {TOLERANCE:g} is allowed. It was not kept."
        )
