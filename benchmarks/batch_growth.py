"""How the cost of `clipn batch` grows with images and with classes.

    python benchmarks/batch_growth.py --data-dir ../shared/data

Measures, in seconds of processor time (one thread computes, one reads, so that a busy machine moves
them little), and fits straight lines:

- images: runs of the compact model on real images from Parquet, from start to manifest, and what
  the tower alone takes for pixels that are ready;
- classes: comparing, scoring, deciding and ranking, exactly and fast, width 512;
- plans: listing is left out, as it is the file system's; cutting and writing the plan of a folder.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import fsspec
import numpy as np
import pyarrow.parquet as pq
import torch
import torch.nn.functional as F

from clipn.batch import BatchOptions, InputFiles, LocalEngine, WorkerOptions, score_images
from clipn.batch.plan import Plan, cut_input, write_plan
from clipn.batch.store import Store
from clipn.data.image_batches import load_batches
from clipn.detector import Detector
from clipn.judge import Judge
from clipn.model import CLIPN, ClassBank, load_model

NAMES = ["airplane", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck", "car"]
SOURCE = "tiny_imagenet_train.parquet"
DIM, JUDGED = 512, 1024


def measure(work: Callable[[], object]) -> float:
    """Processor seconds of all threads of this process."""
    began = time.process_time()
    work()
    return time.process_time() - began


def fit(sizes: Sequence[int], seconds: Sequence[float], what: str) -> None:
    """Print a straight line through measurements."""
    slope, start = np.polyfit(sizes, seconds, 1)
    print(f"{what}: {start:.3g} s + {slope * 1e6:.4g} us each")


def grow_images(data_dir: Path, folder: Path, sizes: Sequence[int]) -> None:
    """Whole runs of several sizes."""
    model = load_model("compact")
    detector = Detector(model, NAMES)
    table = pq.read_table(data_dir / SOURCE, columns=["image"])
    print(f"tower alone: {measure_tower(model, table.slice(0, 64).to_pylist()) * 1e6:.0f} us each")
    engine = LocalEngine(worker=WorkerOptions(num_threads=1, num_readers=1))
    for kept in ("none", "float16"):
        seconds = []
        for size in sizes:
            pq.write_table(table.slice(0, size), folder / f"{size}.parquet", row_group_size=500)
            out = folder / f"out-{kept}-{size}"
            source = folder / f"{size}.parquet"
            options = BatchOptions(embeddings=kept, rows_per_partition=1000)

            def run(
                source: Path = source, out: Path = out, options: BatchOptions = options
            ) -> None:
                score_images(source, out, detector, options=options, engine=engine)

            seconds.append(measure(run))
            num_bytes = sum(path.stat().st_size for path in out.glob("part-*"))
            print(
                f"{size} images, embeddings {kept}: {seconds[-1]:.2f} s, "
                f"{num_bytes / size:.0f} bytes a row"
            )
        fit(sizes, seconds, f"images, embeddings {kept}")


def measure_tower(model: CLIPN, rows: list[dict]) -> float:
    """Processor seconds of the tower for an image whose pixels are ready."""
    sources = [row["image"]["bytes"] for row in rows]
    [batch] = load_batches(sources, model.preprocess, batch_size=64)
    assert batch.pixels is not None
    with torch.inference_mode():
        model.encode_image(batch.pixels)
        seconds = measure(lambda: [model.encode_image(batch.pixels) for _ in range(20)])
    return seconds / 20 / len(rows)


def grow_classes(sizes: Sequence[int]) -> None:
    """Judging at several numbers of classes."""
    images = F.normalize(torch.randn(JUDGED, DIM), dim=-1)
    for precision in ("exact", "fast"):
        seconds = []
        for num_classes in sizes:
            bank = ClassBank(
                names=tuple(map(str, range(num_classes))),
                templates=("{}",),
                yes=F.normalize(torch.randn(num_classes, DIM), dim=-1),
                no=F.normalize(torch.randn(num_classes, DIM), dim=-1),
            )
            judge = Judge(bank, tau=100.0, scores=["atd"], precision=precision)
            rows = max(64, (1 << 18) // num_classes) if precision == "fast" else 64

            def run(judge: Judge = judge, rows: int = rows) -> None:
                for part in images.split(rows):
                    judge(part, rule="atd", top_k=5)

            run()
            seconds.append(min(measure(run) for _ in range(3)) / JUDGED)
            print(f"{num_classes} classes, {precision}: {seconds[-1] * 1e6:.1f} us an image")
        fit(sizes, seconds, f"classes, {precision}, an image")


def grow_plans(folder: Path, sizes: Sequence[int]) -> None:
    """Plans of folders with many images."""
    seconds, options = [], BatchOptions(rows_per_partition=4096)
    for size in sizes:
        files = InputFiles(
            kind="images",
            fs=fsspec.filesystem("file"),
            root="/photos",
            names=tuple(f"{row // 1000:06d}/{row % 1000:03d}.jpg" for row in range(size)),
            sizes=(100_000,) * size,
            fingerprint="",
        )
        store = Store.open(folder / f"plan-{size}")

        def run(files: InputFiles = files, store: Store = store) -> None:
            write_plan(store, Plan(identity={}, partitions=cut_input(files, options)), files)

        seconds.append(measure(run))
        num_bytes = sum(path.stat().st_size for path in Path(store.path("_clipn")).iterdir())
        print(f"plan of {size} images: {seconds[-1]:.2f} s, {num_bytes / size:.1f} bytes an image")
    fit(sizes, seconds, "plan, an image")


def main() -> None:
    """Measure and fit all three."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--images", type=int, nargs="+", default=[500, 1000, 2000, 4000])
    parser.add_argument("--classes", type=int, nargs="+", default=[10, 100, 1000, 10_000])
    parser.add_argument("--plans", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    args = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        grow_images(args.data_dir, Path(folder), args.images)
        grow_classes(args.classes)
        grow_plans(Path(folder), args.plans)


if __name__ == "__main__":
    main()
