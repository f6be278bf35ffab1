"""Embeddings of a lexicon's texts, made once for all suites that mine negative labels from it."""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from clipn.data.row_cache import Block, cached_rows
from clipn.model import CLIPN
from clipn.scores import Lexicon, WordRecipe, candidate_texts

CHUNK = 512  # texts embedded at once


def embed_candidates(
    model: CLIPN, recipe: WordRecipe, lexicon: Lexicon, cache_dir: Path
) -> Callable[[Sequence[str]], Float[Tensor, "texts dim"]]:
    """Embed every text that a recipe makes of a lexicon, or read them where that was done before.

    WordNet's 140,000 texts take 4 bytes a number, 290 MB at width 512.

    Args:
        model: Its yes tower embeds.
        recipe: What the texts are for.
        lexicon: Their words.
        cache_dir: Where the rows are kept; an interrupted pass goes on.

    Returns:
        Maps some of the texts to their embeddings, L2-normalised, on the model's device.

    Raises:
        DataError: If the cache cannot be read or belongs to something else.
    """
    texts = list(dict.fromkeys(candidate_texts(recipe, lexicon)))
    if not texts:
        return model.encode_text  # never called: mining refuses an empty list
    identity = {
        "kind": "texts",
        "model_fingerprint": model.fingerprint("frozen"),
        "data_fingerprint": hashlib.sha256(json.dumps(texts).encode()).hexdigest()[:16],
    }
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]

    def make_block(block: range) -> Block:
        """Embed the texts of a range."""
        parts = [
            model.encode_text(texts[first : min(first + CHUNK, block.stop)])
            for first in range(block.start, block.stop, CHUNK)
        ]
        return torch.cat(parts).cpu().numpy(), {}

    values, _ = cached_rows(
        cache_dir / f"{recipe}-{digest}",
        num_rows=len(texts),
        identity=identity,
        make_block=torch.inference_mode()(make_block),
    )
    row_of = {text: row for row, text in enumerate(texts)}

    def look_up(wanted: Sequence[str]) -> Float[Tensor, "texts dim"]:
        """The embeddings of some of the texts."""
        rows = np.array([row_of[text] for text in wanted])
        return torch.from_numpy(values[rows]).to(model.device)

    return look_up
