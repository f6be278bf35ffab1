"""What a sample of the pairs says of all of them."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np

from clipn.data.image_batches import load_batches
from clipn.data.pairs import BadPair, Pair, Shard
from clipn.errors import DataError
from clipn.model import CLIPN

NUM_SHARDS = 8
NUM_REASONS = 3
READ_BATCH = 64


@dataclass(frozen=True, kw_only=True)
class CaptionLengths:
    """How long captions are, in tokens with the start and end token."""

    median: float
    """Half of them are no longer."""

    most: float
    """99 % of them are no longer."""

    longest: int
    """The longest of the sample."""

    full_share: float
    """Share of captions that fill the whole context: what is longer is cut off."""


@dataclass(frozen=True, kw_only=True)
class PairSample:
    """What was read of the pairs."""

    num_read: int
    """Pairs that were read and decoded."""

    num_shards: int
    """Shards that they came from, evenly spread; of each its first pairs."""

    num_bad: int
    """Pairs that cannot be used."""

    reasons: tuple[str, ...]
    """Why, of the first few."""

    captions_per_pair: float
    """Captions that a pair has on average."""

    lengths: CaptionLengths | None
    """Of the captions; None where no pair can be used."""

    seconds_per_image: float
    """To read, decode and prepare an image with the run's number of threads."""

    pairs: tuple[Pair, ...] = field(repr=False)
    """Those that can be used."""

    @property
    def bad_share(self) -> float:
        """Share of pairs that cannot be used."""
        return self.num_bad / self.num_read if self.num_read else 0.0


def choose_shards(num_shards: int) -> tuple[int, ...]:
    """Numbers of the shards that are sampled: at most eight, evenly spread.

    Example:
        >>> choose_shards(332)
        (0, 47, 95, 142, 189, 236, 284, 331)
    """
    chosen = np.linspace(0, num_shards - 1, min(NUM_SHARDS, num_shards))
    return tuple(int(index) for index in chosen.round())


def sample_pairs(
    shards: Sequence[Shard], model: CLIPN, *, num_pairs: int, num_workers: int
) -> PairSample:
    """Read the first pairs of some shards, as the cache's build would.

    Args:
        shards: Those to sample.
        model: Its preprocessing and tokenizer are used.
        num_pairs: To read at most.
        num_workers: Threads that read images.
    """
    share = -(-num_pairs // len(shards))
    readers = [_Reader(shard, share) for shard in shards]
    start = time.perf_counter()
    for reader in readers:
        reader.read_all(model, num_workers)
    seconds = time.perf_counter() - start
    pairs = tuple(pair for reader in readers for pair in reader.usable_pairs())
    reasons = [reason for reader in readers for reason in reader.reasons]
    num_read = sum(reader.num_read for reader in readers)
    captions = [caption for pair in pairs for caption in pair.captions]
    return PairSample(
        num_read=num_read,
        num_shards=len(shards),
        num_bad=num_read - len(pairs),
        reasons=tuple(reasons[:NUM_REASONS]),
        captions_per_pair=len(captions) / max(1, len(pairs)),
        lengths=_measure_lengths(captions, model) if captions else None,
        seconds_per_image=seconds / max(1, num_read),
        pairs=pairs,
    )


class _Reader:
    """Reads the first pairs of a shard and keeps those that can be used."""

    def __init__(self, shard: Shard, num_pairs: int) -> None:
        self.shard = shard
        self.num_pairs = num_pairs
        self.num_read = 0
        self.pairs: list[Pair] = []
        self.bad_rows: set[int] = set()
        self.reasons: list[str] = []

    def read_all(self, model: CLIPN, num_workers: int) -> None:
        """Read and decode."""
        first = 0
        for batch in load_batches(
            self._images(), model.preprocess, batch_size=READ_BATCH, num_workers=num_workers
        ):
            for position, reason in batch.errors.items():
                self.bad_rows.add(first + position)
                self._refuse(self.pairs[first + position].key, reason)
            first += len(batch.names)

    def usable_pairs(self) -> Iterator[Pair]:
        """The pairs whose images can be decoded."""
        return (pair for row, pair in enumerate(self.pairs) if row not in self.bad_rows)

    def _images(self) -> Iterator[bytes | Path]:
        """The images of the pairs that have one; a broken shard just ends."""
        try:
            for pair in islice(self.shard.read(), self.num_pairs):
                self.num_read += 1
                if isinstance(pair, BadPair):
                    self._refuse(pair.key, pair.reason)
                else:
                    self.pairs.append(pair)
                    yield pair.image
        except DataError as error:
            self.reasons.append(str(error))

    def _refuse(self, key: str, reason: str) -> None:
        self.reasons.append(f"{self.shard.name}/{key}: {reason}")


def _measure_lengths(captions: list[str], model: CLIPN) -> CaptionLengths:
    tokens = model.tokenizer(captions)
    lengths = (tokens != 0).sum(dim=1).numpy()
    return CaptionLengths(
        median=float(np.median(lengths)),
        most=float(np.quantile(lengths, 0.99)),
        longest=int(lengths.max()),
        full_share=float((lengths == model.text.context_length).mean()),
    )
