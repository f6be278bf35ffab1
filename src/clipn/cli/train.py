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

    with show_progress("embedding ") as embedding, show_progress("teaching") as teaching:
        embedding_task = embedding.add_task("embedding", total=None)
        teaching_task = teaching.add_task("teaching", total=None)

        def on_shard(done: int, total: int) -> None:
            embedding.update(embedding_task, completed=done, total=total)

        def on_step(record: StepRecord) -> None:
            teaching.update(teaching_task, completed=record.step, total=record.num_steps)

        model = train(options, on_shard=on_shard, on_step=on_step)
    if distributed.rank() == 0:
        Console(soft_wrap=True).print(
            f"Taught: {options.out_dir} holds a {model.variant} model; the log is "
            f"{options.out_dir / 'log.jsonl'}.",
            markup=False,
            highlight=False,
        )
    return 0
