"""Images that are made up."""

import io

import numpy as np
from PIL import Image


def make_images(count: int, *, seed: int = 0) -> list[Image.Image]:
    """Images of random patches, so that their embeddings differ."""
    generator = np.random.default_rng(seed)
    patches = generator.integers(0, 256, (count, 4, 4, 3), dtype=np.uint8)
    return [Image.fromarray(patch).resize((40, 36), Image.Resampling.NEAREST) for patch in patches]


def encode(image: Image.Image, kind: str, **options) -> bytes:
    """A file of the image."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def colourful(width: int = 24, height: int = 16) -> Image.Image:
    """An image whose pixels all differ."""
    values = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values)
