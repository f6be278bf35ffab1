"""What a run would take, and whether it would work."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from clipn.data.cache_size import cache_bytes
from clipn.data.pairs import Shard
from clipn.errors import ClipnError
from clipn.model import CLIPN, load_model
from clipn.training.checkpoint import NUM_KEPT
from clipn.training.config import TrainConfig
from clipn.training.dry_run.calibration import (
    NUM_PAIRS,
    WARM_UP_PAIRS,
    Calibration,
    calibrate,
    device_of,
)
from clipn.training.dry_run.counting import PairCount, count_pairs
from clipn.training.dry_run.problems import (
    bad_pairs,
    find_earlier_run,
    too_little_memory,
    too_little_room,
)
from clipn.training.dry_run.room import DiskNeed, available_memory, find_disks
from clipn.training.dry_run.survey import PairSample, choose_shards, sample_pairs
from clipn.training.embeddings import open_shards

NUM_SAMPLED = 512  # pairs that are read to see how many are bad
TENSORS_A_CHECKPOINT = 3  # weights and AdamW's two moments


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run would do, take and need."""

    count: PairCount
    """The pairs."""

    sample: PairSample
    """What some of them look like."""

    num_ranks: int
    """Processes that teach together."""

    batch_size: int
    """Pairs a step, over all ranks."""

    num_steps: int
    """Of the whole run: the whole batches of each epoch."""

    num_steps_done: int
    """By an earlier start of the same run."""

    num_shards_done: int
    """Shards that an earlier start has embedded."""

    calibration: Calibration | None
    """Rates and memory; None where nothing could be measured."""

    cache_bytes: int
    """Of the finished embedding cache."""

    disks: tuple[DiskNeed, ...]
    """Each disk that is written to."""

    memory_bytes: int | None
    """What there is for all ranks of this machine; None where the system does not tell."""

    problems: tuple[str, ...]
    """Why the run would not work; none if it would."""

    @property
    def seconds_to_embed(self) -> float | None:
        """Time that the cache takes, over all ranks; None where nothing could be measured."""
        if self.calibration is None:
            return None
        left = 1 - self.num_shards_done / self.count.num_shards
        return left * self.count.num_pairs * self.calibration.seconds_per_pair / self.num_ranks

    @property
    def seconds_to_teach(self) -> float | None:
        """Time that the steps take; None where nothing could be measured."""
        if self.calibration is None:
            return None
        return (self.num_steps - self.num_steps_done) * self.calibration.seconds_per_step


def plan_run(config: TrainConfig, *, num_ranks: int = 1) -> Plan:
    """See what a run would take, and whether it would work, without starting it.

    Nothing is written but to a temporary folder, which is gone when this returns. Rates are those
    of this machine: each rank is taken to have a device like the one that was measured on, and what
    ranks lose by waiting for each other is not part of it.

    Args:
        config: The run.
        num_ranks: Processes that are to teach together.

    Raises:
        DataError: If there are no pairs.
        ModelError: If the model cannot be loaded or cannot get a "no".
        ValueError: If settings do not go together.
    """
    if num_ranks < 1 or config.batch_size % num_ranks:
        raise ValueError(
            f"batch_size must be divisible by the {num_ranks} ranks; got {config.batch_size}."
        )
    model = load_model(config.model)
    if not model.has_no:
        model.add_no_tower(
            variant=config.variant, num_prompts=config.num_prompts, start=config.start
        )
    shards = open_shards(config.pairs, is_handcrafted=model.variant == "handcrafted")
    count, sample = _look_at_pairs(config, model, shards)
    earlier = find_earlier_run(config, model, shards)
    usable = round(count.num_pairs * (1 - sample.bad_share))
    batch_size = min(config.batch_size, usable // num_ranks * num_ranks)
    size = _cache_bytes(config, model, sample, usable)
    disks = _find_disks(config, model, size, earlier.num_shards / len(shards))
    calibration, failure = _try_calibration(config, model, sample, batch_size // num_ranks)
    memory = None if calibration is None else available_memory(calibration.device)
    return Plan(
        count=count,
        sample=sample,
        num_ranks=num_ranks,
        batch_size=batch_size,
        num_steps=config.epochs * (usable // max(1, batch_size)),
        num_steps_done=earlier.num_steps,
        num_shards_done=earlier.num_shards,
        calibration=calibration,
        cache_bytes=size,
        disks=disks,
        memory_bytes=memory,
        problems=(
            *bad_pairs(count, sample, max_bad_share=config.pairs.max_bad_share),
            *earlier.problems,
            *too_little_room(disks),
            *too_little_memory(calibration, memory, num_ranks=num_ranks),
            *failure,
        ),
    )


def _look_at_pairs(
    config: TrainConfig, model: CLIPN, shards: Sequence[Shard]
) -> tuple[PairCount, PairSample]:
    """Count all pairs, and read some of them."""
    chosen = choose_shards(len(shards))
    sample = sample_pairs(
        [shards[index] for index in chosen],
        model,
        num_pairs=max(NUM_SAMPLED, NUM_PAIRS[device_of(config)] + WARM_UP_PAIRS),
        num_workers=config.num_workers,
    )
    return count_pairs(shards, opened=chosen), sample


def _cache_bytes(config: TrainConfig, model: CLIPN, sample: PairSample, num_pairs: int) -> int:
    return cache_bytes(
        num_pairs,
        dim=model.source.architecture["embed_dim"],
        context_length=model.text.context_length,
        dtype=config.cache_dtype,
        num_views=config.num_views,
        captions_per_pair=sample.captions_per_pair,
    )


def _find_disks(
    config: TrainConfig, model: CLIPN, cache: int, share_done: float
) -> tuple[DiskNeed, ...]:
    """What is written where."""
    assert model.no_tower is not None
    weights = sum(p.numel() * p.element_size() for p in model.no_tower.parameters())
    # While one is written, those that are kept are still there.
    checkpoints = (NUM_KEPT + 1) * TENSORS_A_CHECKPOINT * weights
    num_bytes = {config.out_dir: checkpoints + weights}
    # While its parts are put together the cache is there twice.
    cache_left = round(cache * (2 - share_done)) if share_done < 1 else 0
    num_bytes[config.embeddings_dir] = num_bytes.get(config.embeddings_dir, 0) + cache_left
    return find_disks(num_bytes)


def _try_calibration(
    config: TrainConfig, model: CLIPN, sample: PairSample, rank_batch: int
) -> tuple[Calibration | None, tuple[str, ...]]:
    """Measure, or say why that cannot be done."""
    if rank_batch < 1 or len(sample.pairs) <= WARM_UP_PAIRS:
        return None, (
            f"{len(sample.pairs)} usable pairs are too few to teach from or to measure with.",
        )
    try:
        return calibrate(config, model, sample.pairs, rank_batch=rank_batch), ()
    except ClipnError as error:
        return None, (str(error),)
    except torch.OutOfMemoryError as error:
        return None, (f"The GPU is too small for {rank_batch} pairs: {error}",)
