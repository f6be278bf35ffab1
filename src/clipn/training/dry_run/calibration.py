"""Rates and memory, from a few steps of the run itself on a few pairs, in a folder thrown away."""

import resource
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from clipn.data.pairs import Pair
from clipn.model import CLIPN
from clipn.training.config import PairsConfig, TrainConfig
from clipn.training.loop import StepRecord, train

NUM_PAIRS = {"cpu": 64, "cuda": 1024}
WARM_UP_PAIRS = 8
NUM_STEPS = 3  # of which the first warms up
NEVER = 10**9


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What was measured."""

    device: str
    """Where it ran: "cpu" or "cuda"."""

    num_pairs: int
    """Pairs that were embedded, and pairs of the larger of the two steps."""

    seconds_per_pair: float
    """To read, decode and embed a pair, with all its views and captions."""

    seconds_per_step: float
    """A step of a rank's whole batch; scaled up where the measured one was smaller."""

    peak_bytes: int
    """The most memory that a rank takes while it teaches; scaled up likewise."""


def device_of(config: TrainConfig) -> str:
    """Where a run's ranks compute: "cpu" or "cuda"."""
    is_gpu = config.accelerator == "cuda" or (
        config.accelerator == "auto" and torch.cuda.is_available()
    )
    return "cuda" if is_gpu else "cpu"


def calibrate(
    config: TrainConfig, model: CLIPN, pairs: Sequence[Pair], *, rank_batch: int
) -> Calibration:
    """Embed some pairs and take a few steps, by the code that the run will go through.

    Args:
        config: The run.
        model: What is taught; it is taught a little.
        pairs: Real ones of its data set, at least two more than the warm-up takes.
        rank_batch: Pairs of a step on each rank.

    Raises:
        DataError: If the pairs cannot be embedded.
        TrainingError: If the loss is no number.
        torch.OutOfMemoryError: If a GPU is too small for the step.
    """
    device = device_of(config)
    warm_up, pairs = pairs[:WARM_UP_PAIRS], pairs[WARM_UP_PAIRS:][: NUM_PAIRS[device]]
    largest = min(rank_batch, len(pairs))
    # Beyond a micro-batch, a larger batch takes no more memory to speak of.
    for_memory = min(rank_batch, config.micro_batch_size or rank_batch)
    with tempfile.TemporaryDirectory(prefix="clipn-dry-run-") as name:
        sample = _write_sample(Path(name), warm_up, pairs)
        half = _take_steps(config, model, sample, num_pairs=max(1, largest // 2), device=device)
        whole = _take_steps(config, model, sample, num_pairs=largest, device=device)
    growth = max(0, whole.peak_bytes - half.peak_bytes) / max(1, largest - largest // 2)
    return Calibration(
        device=device,
        num_pairs=largest,
        seconds_per_pair=half.seconds_to_embed / len(pairs),
        seconds_per_step=whole.seconds_per_step * rank_batch / largest,
        peak_bytes=round(whole.peak_bytes + growth * max(0, for_memory - largest)),
    )


def _write_sample(folder: Path, warm_up: Sequence[Pair], pairs: Sequence[Pair]) -> PairsConfig:
    """Write the pairs as a data set of two shards, of which the first is to warm up."""
    for number, part in enumerate((warm_up, pairs)):
        columns = {
            "image": [
                p.image if isinstance(p.image, bytes) else p.image.read_bytes() for p in part
            ],
            "caption": [list(pair.captions) for pair in part],
            "class": [pair.class_id for pair in part],
        }
        pq.write_table(pa.table(columns), folder / f"{number}.parquet")
    return PairsConfig(source=str(folder), format="parquet", class_column="class")


@dataclass(frozen=True, kw_only=True)
class _Measured:
    seconds_to_embed: float
    seconds_per_step: float
    peak_bytes: int


class _Enough(Exception):  # noqa: N818 - no error
    """Ends a run once its steps are measured, before it writes a checkpoint."""


def _take_steps(
    config: TrainConfig, model: CLIPN, sample: PairsConfig, *, num_pairs: int, device: str
) -> _Measured:
    """Start the run on the sample, with batches of that many pairs, and end it after some steps."""
    embedded: list[float] = []
    stepped: list[float] = []

    def on_shard(done: int, total: int) -> None:
        """Note when a shard was embedded."""
        embedded.append(time.perf_counter())

    def on_step(record: StepRecord) -> None:
        """Note when a step was done, and end the run after the last."""
        stepped.append(time.perf_counter())
        if len(stepped) == NUM_STEPS:
            raise _Enough

    folder = Path(sample.source)
    short = replace(
        config,
        pairs=sample,
        out_dir=folder / f"steps-of-{num_pairs}",
        cache_dir=folder / "cache",
        batch_size=num_pairs,
        epochs=NUM_STEPS,
        log_every=1,
        checkpoint_every=NEVER,
    )
    _forget_peak(device)
    with suppress(_Enough):
        train(short, model=model, on_shard=on_shard, on_step=on_step)
    return _Measured(
        seconds_to_embed=embedded[-1] - embedded[0] if embedded else 0.0,
        seconds_per_step=(stepped[-1] - stepped[0]) / (len(stepped) - 1),
        peak_bytes=_peak_bytes(device),
    )


def _forget_peak(device: str) -> None:
    """Begin to measure the most memory that is taken."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    else:
        with suppress(OSError):  # only Linux can forget it
            Path("/proc/self/clear_refs").write_text("5")


def _peak_bytes(device: str) -> int:
    """The most memory that was taken."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    lines = dict(line.split(":", 1) for line in status.splitlines())
    return int(lines["VmHWM"].split()[0]) * 1024
