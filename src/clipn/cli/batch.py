"""Answer for collections of any size, here or at any fsspec address, into a folder of Parquet."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Literal

import tyro
from rich.console import Console

from clipn.cli.opening import OpeningOptions, open_detector
from clipn.cli.outputs import show_progress
from clipn.extras import not_installed

if TYPE_CHECKING:
    from clipn.batch import Engine, Manifest, Progress
    from clipn.image_detector import ImageDetector

SECONDS_BETWEEN_LINES = 10.0  # of a log, where there is no terminal to draw a bar on


@dataclass(frozen=True, kw_only=True)
class Options(OpeningOptions):
    """Options of `clipn batch`."""

    source: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="IN")]
    """A folder of images, of tars or of Parquet files, a single one, a glob, or the OUT of a run
    with --embeddings, whose embeddings are then scored anew."""

    output: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")]
    """The folder for the rows. A run that was killed goes on when it is started again."""

    input_kind: Literal["images", "tars", "parquet", "embeddings"] | None = None
    """What IN holds; by default what is found there."""

    image_column: str = "image"
    """Of Parquet files: image structs, encoded bytes, or paths."""

    key_column: str | None = None
    """Of Parquet files: what an image is called; by default file and row."""

    extra_scores: tuple[str, ...] = ()
    """More scores, each in a column of its own: msp mcm ..."""

    top_k: int = 5
    """How many of the most likely classes to write."""

    embeddings: Literal["none", "float16", "float32"] = "none"
    """Keep embeddings, to score other classes later without the images; not those in int8."""

    precision: Literal["fast", "exact"] = "fast"
    """Numbers in which kept embeddings are scored, float32 or float64; images always exactly."""

    rows_per_partition: int = 4096
    """About how many images become one file of OUT; tars are never cut."""

    batch_size: int = 64
    """Images embedded at once."""

    existing: Literal["continue", "replace", "refuse"] = "continue"
    """Of a run that OUT holds already: go on with it, start over, or refuse."""

    engine: Literal["local", "ray"] = "local"
    """Processes of this machine, or a Ray cluster (needs clipn[ray])."""

    workers: int = 1
    """How many hold the model and work at once; with ray the least number of them."""

    max_workers: int | None = None
    """With ray: up to how many there may be, as the cluster grows; by default as --workers."""

    threads: int | None = None
    """Threads that compute for each worker; by default its share of the processors."""

    readers: int = 2
    """Threads that read and decode for each worker."""

    address: str | None = None
    """With ray: of an existing cluster, such as ray://head:10001 or auto; by default one is started
    on this machine."""

    cpus: float | None = None
    """With ray: processors that a worker reserves; by default as --threads, or 1."""

    gpus: float = 0
    """With ray: GPUs that a worker reserves; use --device cuda with it."""


def run(options: Options) -> int:
    """Score all images; returns the exit code."""
    from clipn.batch import BatchOptions, score_images

    engine = _build_engine(options)
    with _tell_progress() as on_progress:
        manifest = score_images(
            options.source,
            options.output,
            _open_detector(options),
            options=BatchOptions(
                input_kind=options.input_kind,
                image_column=options.image_column,
                key_column=options.key_column,
                extra_scores=options.extra_scores,
                top_k=options.top_k,
                embeddings=options.embeddings,
                precision=options.precision,
                rows_per_partition=options.rows_per_partition,
                batch_size=options.batch_size,
            ),
            engine=engine,
            existing=options.existing,
            on_progress=on_progress,
        )
    Console(soft_wrap=True).print(_summarise(manifest, options), markup=False, highlight=False)
    return 0


def _open_detector(options: Options) -> "ImageDetector":
    """The detector, which workers load anew; only a cluster's nodes may have the device."""
    return open_detector(replace(options, device="cpu") if options.engine == "ray" else options)


def _build_engine(options: Options) -> "Engine":
    from clipn.batch import LocalEngine, WorkerOptions

    cores = (os.cpu_count() or 1) / max(1, options.workers)
    if options.engine == "ray":
        cores = options.cpus or 1
    worker = WorkerOptions(
        device=options.device,
        num_threads=options.threads or max(1, int(cores)),
        num_readers=options.readers,
    )
    if options.engine == "local":
        return LocalEngine(num_processes=options.workers, worker=worker)
    try:
        from clipn.batch.ray_engine import RayEngine
    except ImportError as error:
        raise not_installed(error, extra="ray") from error
    return RayEngine(
        address=options.address,
        min_workers=options.workers,
        max_workers=options.max_workers or options.workers,
        num_cpus=options.cpus if options.cpus is not None else options.threads or 1,
        num_gpus=options.gpus,
        worker=worker,
    )


@contextmanager
def _tell_progress() -> "Iterator[Callable[[Progress], None]]":
    """A bar on a terminal; elsewhere a line on stderr now and then."""
    with show_progress() as bars:
        bar = bars.add_task("scoring", total=None)
        told = time.monotonic()

        def tell(progress: "Progress") -> None:
            """Show how far the run is."""
            nonlocal told
            line = _describe(progress)
            bars.update(
                bar, completed=progress.num_done, total=progress.num_partitions, description=line
            )
            if bars.disable and time.monotonic() - told >= SECONDS_BETWEEN_LINES:
                told = time.monotonic()
                print(f"clipn batch: {line}", file=sys.stderr, flush=True)

        yield tell


def _describe(progress: "Progress") -> str:
    left = progress.seconds_left
    time_left = "" if left is None else f", {left / 60:.0f} min left"
    failed = f", {progress.num_failed} unreadable" if progress.num_failed else ""
    return (
        f"{progress.num_done} of {progress.num_partitions} partitions, {progress.num_images} "
        f"images{failed}, {progress.images_per_second:.1f} images/s{time_left}"
    )


def _summarise(manifest: "Manifest", options: Options) -> str:
    return (
        f"{manifest.num_in} images in, {manifest.num_out} rows out, {manifest.num_failed} of them "
        f"unreadable, in {manifest.num_partitions} files.\nSaved: {options.output}"
    )
