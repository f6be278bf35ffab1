"""The plan of a teaching run, as `clipn train --dry-run` prints it."""

from collections.abc import Iterator
from datetime import timedelta

from rich.table import Table
from rich.text import Text

from clipn.cli.outputs import make_console
from clipn.training import TrainConfig
from clipn.training.dry_run import Plan

GB = 1e9
SOURCES = {
    "rows": "by the rows of the tables",
    "statistics": "by img2dataset's statistics",
    "headers": "by the headers of the tars",
    "size": "estimated from the size of the tars",
}
NUM_SHOWN = 5  # broken shards told of


def print_plan(plan: Plan, config: TrainConfig) -> None:
    """Print what a run would do, take and need; then why it would not work, or that it would."""
    console = make_console()
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, text in (
        *_describe_pairs(plan),
        *_describe_work(plan, config),
        *_describe_needs(plan),
    ):
        table.add_row(name, Text(text))
    console.print(table)
    for doubt in plan.count.doubts:
        console.print(Text(f"doubt: {doubt}", style="yellow"))
    for broken in plan.count.broken[:NUM_SHOWN]:
        console.print(Text(f"broken: {broken}", style="yellow"))
    for problem in plan.problems:
        console.print(Text(f"problem: {problem}", style="red"))
    verdict = "This run would not work." if plan.problems else "This run would work."
    console.print(Text(f"{verdict} Nothing was started or kept."))


def _describe_pairs(plan: Plan) -> Iterator[tuple[str, str]]:
    count, sample = plan.count, plan.sample
    ways = ", ".join(f"{number:,} {SOURCES[source]}" for source, number in count.sources.items())
    yield "pairs", f"{count.num_pairs:,} in {count.num_shards:,} shards ({ways})"
    yield "broken shards", f"{len(count.broken):,}"
    bad = f"{sample.num_bad:,} cannot be used ({sample.bad_share:.1%})"
    yield "sample", f"{sample.num_read:,} pairs of {sample.num_shards} shards: {bad}"
    if lengths := sample.lengths:
        in_tokens = f"{lengths.median:.0f} tokens in the middle, 99 % up to {lengths.most:.0f}"
        cut = f"{lengths.full_share:.1%} reach the end of the context, where they are cut off"
        yield "captions", f"{sample.captions_per_pair:.1f} a pair, {in_tokens}; {cut}"


def _describe_work(plan: Plan, config: TrainConfig) -> Iterator[tuple[str, str]]:
    steps = f"{plan.num_steps:,} of {plan.batch_size:,} pairs over {_ranks(plan.num_ranks)}"
    yield "steps", f"{steps}, {config.epochs} epochs"
    if plan.num_shards_done or plan.num_steps_done:
        yield "done already", f"{plan.num_shards_done:,} shards, {plan.num_steps_done:,} steps"
    measured = plan.calibration
    embed, teach = plan.seconds_to_embed, plan.seconds_to_teach
    if measured is None or embed is None or teach is None:
        return
    rate = f"{1 / measured.seconds_per_pair:.1f} pairs/s a rank"
    yield "time", f"{_duration(embed + teach)} ({measured.num_pairs} pairs on {measured.device})"
    yield "- cache", f"{_duration(embed)} ({rate})"
    yield "- steps", f"{_duration(teach)} ({measured.seconds_per_step:.2f} s a step)"


def _describe_needs(plan: Plan) -> Iterator[tuple[str, str]]:
    yield "cache", f"{_size(plan.cache_bytes)}, twice that while it is built"
    for disk in plan.disks:
        yield (
            "disk",
            (f"{_size(disk.needed_bytes)} needed, {_size(disk.free_bytes)} free at {disk.folder}"),
        )
    if plan.calibration is not None:
        free = "" if plan.memory_bytes is None else f", {_size(plan.memory_bytes)} available"
        yield "memory", f"{_size(plan.calibration.peak_bytes)} a rank{free}"


def _ranks(number: int) -> str:
    return "1 rank" if number == 1 else f"{number} ranks"


def _size(num_bytes: int) -> str:
    """Bytes as a person says them."""
    return f"{num_bytes / GB:.1f} GB" if num_bytes >= GB / 10 else f"{num_bytes / 1e6:.1f} MB"


def _duration(seconds: float) -> str:
    """Seconds as days and h:mm:ss."""
    return str(timedelta(seconds=round(seconds)))
