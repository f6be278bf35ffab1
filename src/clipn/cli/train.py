"""Teach a CLIP to say "no" from image-caption pairs.

Started again with the same --out-dir, a run goes on from its last checkpoint. SIGTERM and Ctrl-C
end it after its step, with a checkpoint.
"""

import os
from contextlib import nullcontext
from dataclasses import asdict, dataclass, fields
from typing import Literal

from rich.console import Console

from clipn.cli.outputs import show_progress
from clipn.cli.train_plan import print_plan
from clipn.training import StepRecord, TrainConfig, train
from clipn.training.dry_run import plan_run


@dataclass(frozen=True, kw_only=True)
class Options(TrainConfig):
    """Options of `clipn train`."""

    dry_run: bool = False
    """Only check data, disk room, memory and time, from a few real steps, and print the plan."""

    track: Literal["tensorboard", "wandb"] | None = None
    """Send the figures of the log there too; tensorboard writes below OUT_DIR/tensorboard."""

    num_ranks: int = 1
    """For --dry-run: the processes that torchrun is to start."""


def run(options: Options) -> int:
    """Teach, or only plan it; returns the exit code."""
    config = TrainConfig(**{f.name: getattr(options, f.name) for f in fields(TrainConfig)})
    if not options.dry_run:
        return _teach(config, options.track)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ValueError("--dry-run is for one process: leave torchrun out and give --num-ranks.")
    plan = plan_run(config, num_ranks=options.num_ranks)
    print_plan(plan, config)
    return 1 if plan.problems else 0


def _teach(config: TrainConfig, track: Literal["tensorboard", "wandb"] | None) -> int:
    from clipn import distributed
    from clipn.tracking import open_tracker

    tracking = nullcontext()
    if track:
        tracking = open_tracker(track, config.out_dir, config=config.recipe())
    with tracking as tracker, show_progress() as progress:
        embedding = progress.add_task("embedding shards", total=None)
        teaching = progress.add_task("teaching steps", total=None)

        def on_shard(done: int, total: int) -> None:
            """Move the bar of the cache."""
            progress.update(embedding, completed=done, total=total)

        def on_step(record: StepRecord) -> None:
            """Move the bar of the steps."""
            progress.update(teaching, completed=record.step, total=record.num_steps)
            if tracker is not None:
                figures = {f"train/{name}": value for name, value in asdict(record).items()}
                tracker.log(figures, step=record.step)

        model = train(config, on_shard=on_shard, on_step=on_step)
    if distributed.rank() == 0:
        Console(soft_wrap=True).print(
            f"Taught: {config.out_dir} holds a {model.variant} model; the log is "
            f"{config.out_dir / 'log.jsonl'}.",
            markup=False,
            highlight=False,
        )
    return 0
