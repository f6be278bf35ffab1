"""How much room an embedding cache takes, before it is built."""

from typing import Literal

import numpy as np

TOKEN_BYTES = 2  # vocabularies of more than 65,536 tokens take 4
KEY_BYTES = 8
ROW_BYTES = 3 * 8  # first_caption, num_captions, class_id


def cache_bytes(
    num_pairs: int,
    *,
    dim: int,
    context_length: int,
    dtype: Literal["float16", "float32"] = "float16",
    num_views: int = 1,
    captions_per_pair: float = 1.0,
) -> int:
    """The size of the cache of some pairs, in bytes.

    It is the most that it can be: captions that come several times in a shard are kept once, and
    tokens only up to the longest caption. While it is built twice as much is needed for a while.

    Args:
        num_pairs: Usable pairs.
        dim: Of the embeddings.
        context_length: Of the text tower, in tokens.
        dtype: Of the stored embeddings.
        num_views: Of each image.
        captions_per_pair: On average.

    Example:
        >>> cc3m = cache_bytes(2_891_445, dim=512, context_length=77)
        >>> f"{cc3m / 1e9:.1f} GB"
        '6.5 GB'
    """
    embedding = dim * np.dtype(dtype).itemsize
    caption = embedding + context_length * TOKEN_BYTES + KEY_BYTES
    return round(num_pairs * (num_views * embedding + captions_per_pair * caption + ROW_BYTES))
