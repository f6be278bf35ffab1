"""Teach a CLIP to say "no" from image-caption pairs.

Started again with the same --out-dir, a run goes on from its last checkpoint.
"""

from rich.console import Console

from clipn.cli.outputs import show_progress
from clipn.training import StepRecord, TrainConfig, train

Options = TrainConfig


def run(options: TrainConfig) -> int:
    """Teach; returns the exit code."""
    from clipn import distributed

    with show_progress() as progress:
        embedding = progress.add_task("embedding shards", total=None)
        teaching = progress.add_task("teaching steps", total=None)

        def on_shard(done: int, total: int) -> None:
            """Move the bar of the cache."""
            progress.update(embedding, completed=done, total=total)

        def on_step(record: StepRecord) -> None:
            """Move the bar of the steps."""
            progress.update(teaching, completed=record.step, total=record.num_steps)

        model = train(options, on_shard=on_shard, on_step=on_step)
    if distributed.rank() == 0:
        Console(soft_wrap=True).print(
            f"Taught: {options.out_dir} holds a {model.variant} model; the log is "
            f"{options.out_dir / 'log.jsonl'}.",
            markup=False,
            highlight=False,
        )
    return 0
