"""A Ray cluster of several node processes on this machine scores real images, and loses a node.

    python benchmarks/batch_cluster.py efficiency --data-dir ../shared/data
    python benchmarks/batch_cluster.py losses --data-dir ../shared/data --num-images 100000

`efficiency` measures the compact model's own rate (one thread, pixels ready), then `clipn batch`
with one and with two workers of one thread each, at several numbers of images, and fits seconds =
start + images / rate. `losses` starts a run over three nodes (the driver's, which has no processor
to work with, and two with a worker each), kills a node with SIGKILL once a third is done, starts
another, kills the driver with SIGKILL once two thirds are done, starts the same command again, and
counts rows. Its tower is a random one of two layers unless --tower compact is given, so that
100,000 images take minutes. Both print the peak memory of the workers.

The images are those of the Parquet files in the data folder, repeated until there are enough. Nodes
are real ones (a raylet, a store and workers of their own) but share the processors of this machine.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from clipn.data.image_batches import load_batches
from clipn.model import CLIPN, build_base, load_model

TINY = {
    "embed_dim": 64,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "head_width": 32, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 1},
}
CLASSES = "airplane, car, bird, cat, deer, dog, frog, horse, ship, truck"
ROWS_PER_FILE, ROWS_PER_PARTITION = 10_000, 1000
SOURCES = ("tiny_imagenet_train.parquet", "cifar10_train.parquet", "pacs.parquet")
MIB = 1 << 20


def write_input(data_dir: Path, folder: Path, num_images: int) -> None:
    """Parquet files of encoded images, row groups of 500."""
    folder.mkdir()
    images = pa.concat_tables(
        [pq.read_table(data_dir / name, columns=["image"]) for name in SOURCES]
    )
    rows = np.arange(num_images) % len(images)
    for number, first in enumerate(range(0, num_images, ROWS_PER_FILE)):
        part = images.take(rows[first : first + ROWS_PER_FILE])
        pq.write_table(part, folder / f"{number:04d}.parquet", row_group_size=500)


def measure_tower(data_dir: Path, seconds: float = 15.0) -> float:
    """Images a second that the image tower embeds in one thread, their pixels being ready."""
    torch.set_num_threads(1)
    model = load_model("compact")
    rows = pq.read_table(data_dir / SOURCES[0], columns=["image"]).slice(0, 64).to_pylist()
    [batch] = load_batches([row["image"]["bytes"] for row in rows], model.preprocess, batch_size=64)
    assert batch.pixels is not None
    num_images, began = 0, time.perf_counter()
    with torch.inference_mode():
        while time.perf_counter() - began < seconds:
            model.encode_image(batch.pixels)
            num_images += 64
    return num_images / (time.perf_counter() - began)


@contextmanager
def start_cluster(num_nodes: int) -> Iterator[object]:
    """A head without processors, and nodes of one."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(
        initialize_head=True,
        head_node_args={
            "num_cpus": 0,
            "object_store_memory": 100 * MIB,
            "include_dashboard": False,
        },
    )
    for _ in range(num_nodes):
        cluster.add_node(num_cpus=1, object_store_memory=100 * MIB)
    cluster.wait_for_nodes()
    try:
        yield cluster
    finally:
        cluster.shutdown()


def start_run(
    source: Path, output: Path, workers: int, address: str, model: str = "compact"
) -> subprocess.Popen[str]:
    """`clipn batch` as a user starts it."""
    options = ["--classes", CLASSES, "--rows-per-partition", str(ROWS_PER_PARTITION)]
    options += ["--model", model]
    options += ["--engine", "ray", "--address", address, "--workers", str(workers)]
    return subprocess.Popen(
        [sys.executable, "-m", "clipn.cli.main", "batch", str(source), str(output), *options],
        stderr=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )


class MemoryWatch:
    """The peak of the memory that any one worker uses, while it is watched."""

    def __enter__(self) -> "MemoryWatch":
        self.peak, self._is_over = 0, threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._is_over.wait(0.5):
            for process in Path("/proc").glob("[0-9]*"):
                try:
                    if b"MapWorker" in (process / "cmdline").read_bytes():
                        status = (process / "status").read_text()
                        kib = status.partition("VmHWM:")[2].split()[0]
                        self.peak = max(self.peak, int(kib) * 1024)
                except (OSError, IndexError):
                    continue  # it has just ended


def num_parts(output: Path) -> int:
    """Output files that are there."""
    return len(list(output.glob("part-*.parquet")))


def wait_for_parts(output: Path, wanted: int, run: subprocess.Popen[str]) -> None:
    """Wait until a run has made some files."""
    while num_parts(output) < wanted:
        if run.poll() is not None:
            raise SystemExit(f"The run ended with {run.returncode} at {num_parts(output)} files.")
        time.sleep(0.2)


def count_rows(output: Path) -> Counter[str]:
    """How often each image is in the output."""
    counts: Counter[str] = Counter()
    for path in sorted(output.glob("part-*.parquet")):
        counts.update(pq.read_table(path, columns=["image"])["image"].to_pylist())
    return counts


def run_efficiency(args: argparse.Namespace, folder: Path) -> None:
    """Rates at one and two workers."""
    tower = measure_tower(args.data_dir)
    print(f"tower alone, 1 thread: {tower:.0f} images/s")
    sizes = args.sizes
    for size in sizes:
        write_input(args.data_dir, folder / f"in-{size}", size)
    with start_cluster(2) as cluster:
        for workers in (1, 2):
            seconds = []
            for size in sizes:
                output = folder / f"out-{workers}-{size}"
                with MemoryWatch() as memory:
                    began = time.perf_counter()
                    run = start_run(folder / f"in-{size}", output, workers, cluster.address)
                    printed, _ = run.communicate()
                    seconds.append(time.perf_counter() - began)
                print(
                    f"{workers} workers, {size} images: {seconds[-1]:.1f} s, peak memory of a "
                    f"worker {memory.peak / MIB:.0f} MiB; {printed.splitlines()[0]}"
                )
            slope, start = np.polyfit(sizes, seconds, 1)
            share = 1 / slope / (workers * tower)
            print(
                f"{workers} workers: {start:.1f} s to start, then {1 / slope:.0f} images/s, "
                f"{share:.0%} of {workers} towers"
            )


def run_losses(args: argparse.Namespace, folder: Path) -> None:
    """A node and the driver are killed under way."""
    source, output = folder / "in", folder / "out"
    write_input(args.data_dir, source, args.num_images)
    model = CLIPN(build_base(TINY, name="tiny"))
    model.add_no_tower()
    model.save(folder / "tiny")
    tower = "compact" if args.tower == "compact" else str(folder / "tiny")
    num_planned = -(-args.num_images // ROWS_PER_PARTITION)
    began = time.perf_counter()

    def tell(event: str) -> None:
        print(f"{time.perf_counter() - began:6.1f} s  {num_parts(output):4d} files  {event}")

    with start_cluster(2) as cluster, MemoryWatch() as memory:
        tell("three nodes are there")
        run = start_run(source, output, 2, cluster.address, tower)
        wait_for_parts(output, num_planned // 3, run)
        victim = next(iter(cluster.worker_nodes))
        cluster.remove_node(victim, allow_graceful=False)
        tell("a node was killed")
        cluster.add_node(num_cpus=1, object_store_memory=100 * MIB)
        tell("another was started")
        wait_for_parts(output, 2 * num_planned // 3, run)
        run.send_signal(signal.SIGKILL)
        run.wait()
        tell("the driver was killed")
        run = start_run(source, output, 2, cluster.address, tower)
        tell("and started again")
        printed, _ = run.communicate()
        tell(f"the end: exit code {run.returncode}; {printed.splitlines()[0]}")
    counts = count_rows(output)
    expected = {
        f"{path.name}:{row}"
        for path in source.iterdir()
        for row in range(pq.ParquetFile(path).metadata.num_rows)
    }
    print(
        f"{counts.total()} rows of {args.num_images} images: {len(expected - set(counts))} lost, "
        f"{sum(count > 1 for count in counts.values())} doubled, "
        f"{len(set(counts) - expected)} of nothing; peak memory of a worker "
        f"{memory.peak / MIB:.0f} MiB"
    )


def main() -> None:
    """Make the input, run, clean up."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("efficiency", "losses"))
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--num-images", type=int, default=100_000)
    parser.add_argument("--tower", choices=("tiny", "compact"), default="tiny", help="of losses")
    parser.add_argument("--sizes", type=int, nargs="+", default=[2000, 6000, 12000])
    args = parser.parse_args()
    os.environ |= {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AUTH_MODE": "disabled",
        "OMP_NUM_THREADS": "1",
        "RAY_worker_niceness": "0",  # by default workers give way to whatever else runs
    }
    folder = Path(tempfile.mkdtemp())
    try:
        (run_efficiency if args.what == "efficiency" else run_losses)(args, folder)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
