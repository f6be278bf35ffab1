"""What is said of a batch of images, as a value that takes no torch to read."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

__all__ = ["Judgement", "Precision"]

Precision = Literal["exact", "fast"]
"""In which numbers images are compared with classes: "exact", float64, as softmax at tau 100 rounds
to 1 in float32 long before it does there; "fast", float32, about twice as fast."""


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What is said of a batch of images.

    Attributes:
        scores: By the name of the score; higher = more in-distribution.
        best: The most likely class of each, an index into the class names.
        refused: Whether it shows none of the classes; None where nothing decides.
        top: The most likely classes, the first being the most likely.
        top_yes: Their logits.
        top_no: The logits of their "no"; None for a plain CLIP.
        embeddings: What was compared with the classes, L2-normalised.
    """

    scores: Mapping[str, Float[np.ndarray, " batch"]]
    best: Int[np.ndarray, " batch"]
    refused: Bool[np.ndarray, " batch"] | None
    top: Int[np.ndarray, "batch top_k"]
    top_yes: Float[np.ndarray, "batch top_k"]
    top_no: Float[np.ndarray, "batch top_k"] | None
    embeddings: Float[np.ndarray, "batch dim"]
