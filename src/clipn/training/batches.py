"""Which pairs a step sees: a function of the seed and the step alone."""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from clipn.data.embedding_cache import EmbeddedPairs, EmbeddingCache
from clipn.errors import TrainingError


@dataclass(frozen=True, kw_only=True)
class Batch:
    """One rank's part of a step.

    Attributes:
        rows: Which pairs of the cache they are.
        pairs: The embedded pairs.
        tokens: What the no tower reads: each text of the batch once.
        prompt_ids: The prompt that each text drew, num_prompts meaning the mean of all; None where
            there are no prompts.
        text_of_pair: Which of the texts is each pair's own.
        seed: Of what the losses draw; the same on all ranks.
    """

    rows: Int[np.ndarray, " batch"]
    pairs: EmbeddedPairs
    tokens: Int[Tensor, "texts length"]
    prompt_ids: Int[Tensor, " texts"] | None
    text_of_pair: Int[Tensor, " batch"]
    seed: int


@dataclass(frozen=True, kw_only=True)
class BatchPlan:
    """The order of all pairs over a run.

    Every epoch is a new permutation, cut into whole batches; what is left over is seen in other
    epochs. All ranks draw for the whole batch and read their own rows of it, so that no draw
    depends on the number of ranks.

    Attributes:
        cache: The pairs.
        batch_size: Pairs a step, over all ranks.
        num_prompts: Prompts to draw from; 0 draws none.
        seed: Of all draws.
        captions: "per_class" lets all pairs of a class in a batch share the caption and the prompt
            of the first of them: fewer texts to embed, and as many opposites.
    """

    cache: EmbeddingCache
    batch_size: int
    num_prompts: int
    seed: int
    captions: Literal["per_pair", "per_class"] = "per_pair"

    def fit(self, *, num_ranks: int) -> "BatchPlan":
        """A plan with one smaller batch where there are fewer pairs than a batch holds.

        Raises:
            ValueError: If the batch size is not divisible by the number of ranks.
            TrainingError: If there are fewer pairs than ranks.
        """
        if self.batch_size % num_ranks:
            raise ValueError(
                f"batch_size must be divisible by the {num_ranks} ranks; got {self.batch_size}."
            )
        if len(self.cache) < num_ranks:
            raise TrainingError(f"{len(self.cache)} pairs are too few for {num_ranks} ranks.")
        largest = len(self.cache) // num_ranks * num_ranks
        return replace(self, batch_size=min(self.batch_size, largest))

    @property
    def steps_an_epoch(self) -> int:
        """Number of whole batches in a pass."""
        return len(self.cache) // self.batch_size

    def read(self, step: int, *, rank: int = 0, num_ranks: int = 1) -> Batch:
        """Read a rank's rows of a step's batch.

        Args:
            step: From 0, over all epochs.
            rank: Which part of the batch.
            num_ranks: Number of equal parts.
        """
        epoch, position = divmod(step, self.steps_an_epoch)
        order = _epoch_order(self.seed, epoch, len(self.cache))
        rows = order[position * self.batch_size : (position + 1) * self.batch_size]
        generator = np.random.default_rng((self.seed, epoch, position))
        choice = self.cache.choose(rows, generator)
        # One choice more than there are prompts: the last is their mean.
        prompt_ids = generator.integers(self.num_prompts + 1, size=self.batch_size)
        if self.captions == "per_class":
            first = _first_of_class(self.cache.class_ids(rows))
            choice, prompt_ids = replace(choice, captions=choice.captions[first]), prompt_ids[first]
        size = self.batch_size // num_ranks
        own = slice(rank * size, (rank + 1) * size)
        pairs = self.cache.read(choice.part(own))
        texts = np.stack([choice.captions[own], prompt_ids[own]])
        _, first, text_of_pair = np.unique(texts, axis=1, return_index=True, return_inverse=True)
        return Batch(
            rows=rows[own],
            pairs=pairs,
            tokens=pairs.tokens[first],
            prompt_ids=torch.from_numpy(prompt_ids[own][first]) if self.num_prompts else None,
            text_of_pair=torch.from_numpy(text_of_pair.reshape(-1)),
            seed=int(generator.integers(2**63)),
        )


def _first_of_class(class_ids: Int[np.ndarray, " batch"]) -> Int[np.ndarray, " batch"]:
    """For each pair, the first pair of its class; itself where it has no class."""
    _, first, group = np.unique(class_ids, return_index=True, return_inverse=True)
    return np.where(class_ids < 0, np.arange(len(class_ids)), first[group])


@lru_cache(maxsize=1)
def _epoch_order(seed: int, epoch: int, num_pairs: int) -> np.ndarray:
    """The permutation of an epoch; kept, since every step of the epoch needs it."""
    return np.random.default_rng((seed, epoch)).permutation(num_pairs)
