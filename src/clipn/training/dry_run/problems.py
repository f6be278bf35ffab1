"""Why a run would not work, each reason a sentence."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from clipn.data.cache_build import find_cache
from clipn.data.pairs import Shard
from clipn.errors import DataError, TrainingError
from clipn.model import CLIPN
from clipn.training.checkpoint import load_last_checkpoint
from clipn.training.config import TrainConfig
from clipn.training.dry_run.calibration import Calibration
from clipn.training.dry_run.counting import PairCount
from clipn.training.dry_run.room import DiskNeed
from clipn.training.dry_run.survey import PairSample
from clipn.training.embeddings import build_settings

GB = 1e9


@dataclass(frozen=True, kw_only=True)
class EarlierRun:
    """What an earlier start in the same folders has left."""

    num_shards: int = 0
    """Shards that are embedded."""

    num_steps: int = 0
    """Steps of the last checkpoint."""

    problems: tuple[str, ...] = ()
    """Why the run cannot go on from there."""


def find_earlier_run(config: TrainConfig, model: CLIPN, shards: Sequence[Shard]) -> EarlierRun:
    """See what there is of a run already, without changing it.

    Args:
        config: The run.
        model: What is taught.
        shards: Of its pairs.
    """
    try:
        cache = find_cache(shards, model, config.embeddings_dir, build_settings(config, model))
        recipe = config.identity(tau=model.tau, data_fingerprint=cache.data_fingerprint)
        checkpoint = load_last_checkpoint(config.out_dir / "checkpoints", recipe=recipe)
    except (DataError, TrainingError) as error:
        return EarlierRun(problems=(str(error),))
    num_steps = 0 if checkpoint is None else checkpoint.step
    return EarlierRun(num_shards=cache.num_finished, num_steps=num_steps)


def bad_pairs(count: PairCount, sample: PairSample, *, max_bad_share: float) -> Iterator[str]:
    """Whether more is unusable than the run allows.

    Args:
        count: Of all shards.
        sample: Of some pairs.
        max_bad_share: Share of unusable pairs, and of broken shards, that ends the run.
    """
    if len(count.broken) > max_bad_share * count.num_shards:
        yield (
            f"{len(count.broken)} of {count.num_shards} shards are broken, more than the allowed "
            f"share of {max_bad_share:.1%}. The first: {count.broken[0]}."
        )
    if sample.bad_share > max_bad_share:
        yield (
            f"{sample.num_bad} of {sample.num_read} sampled pairs cannot be used, more than the "
            f"allowed share of {max_bad_share:.1%}. The first: {sample.reasons[0]}."
        )


def too_little_room(disks: Sequence[DiskNeed]) -> Iterator[str]:
    """Whether a disk is full or closed.

    Args:
        disks: Each that is written to.
    """
    for disk in disks:
        if not disk.is_writable:
            yield f"{disk.folder} cannot be made or written to."
        if disk.needed_bytes > disk.free_bytes:
            yield (
                f"The disk of {disk.folder} has {disk.free_bytes / GB:.1f} GB free; "
                f"{disk.needed_bytes / GB:.1f} GB are needed."
            )


def too_little_memory(
    calibration: Calibration | None, available: int | None, *, num_ranks: int
) -> Iterator[str]:
    """Whether the ranks need more memory than there is.

    Args:
        calibration: What a rank needs; None where it is not known.
        available: In bytes: of the machine, or of the GPU; None where it is not known.
        num_ranks: Processes that teach together; on CPUs all of them on this machine.
    """
    if calibration is None or available is None:
        return
    num_sharing = num_ranks if calibration.device == "cpu" else 1
    if (needed := num_sharing * calibration.peak_bytes) > available:
        yield (
            f"{num_sharing} ranks need {needed / GB:.1f} GB of memory; {available / GB:.1f} GB are "
            "available. A micro_batch_size or grad_checkpointing takes less."
        )
