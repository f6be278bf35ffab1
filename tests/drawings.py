"""Images that are made up."""

import numpy as np
from PIL import Image


def make_images(count: int, *, seed: int = 0) -> list[Image.Image]:
    """Images of random patches, so that their embeddings differ."""
    generator = np.random.default_rng(seed)
    patches = generator.integers(0, 256, (count, 4, 4, 3), dtype=np.uint8)
    return [Image.fromarray(patch).resize((40, 36), Image.Resampling.NEAREST) for patch in patches]
