"""Reading a step's pairs from a cache of millions, beside the step itself.

    python benchmarks/cache_reading.py [--rows 2000000] [--batch-size 64]

The cache is synthetic and its embeddings are holes in their files, so that it takes no disk. What
is timed is the drawing, the random access through the memory map and what is made of the rows; a
disk that the cache has to come from adds its own time.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import open_clip
import torch
from lightning_fabric import Fabric

from clipn.data.embedding_cache import EmbeddingCache
from clipn.model import CLIPN, build_base
from clipn.training import PairsConfig, TrainConfig
from clipn.training.batches import BatchPlan
from clipn.training.optim import build_optimizer
from clipn.training.step import clear_gradients, take_gradients

DIM, LENGTH, END = 512, 32, 49407


def build_cache(folder: Path, num_rows: int) -> EmbeddingCache:
    """A cache of so many pairs, each with a caption of 14 tokens."""
    shapes = {
        "image": (num_rows, 1, DIM),
        "yes": (num_rows, DIM),
        "tokens": (num_rows, LENGTH),
    }
    for name, shape in shapes.items():
        dtype = np.int32 if name == "tokens" else np.float16
        np.lib.format.open_memmap(folder / f"{name}.npy", mode="w+", dtype=dtype, shape=shape)
    tokens = np.load(folder / "tokens.npy", mmap_mode="r+")
    tokens[:, 13] = END
    rows = np.arange(num_rows)
    np.save(folder / "first_caption.npy", rows)
    np.save(folder / "num_captions.npy", np.ones_like(rows))
    np.save(folder / "class_id.npy", np.full_like(rows, -1))
    np.save(folder / "caption_key.npy", rows)
    manifest = {
        "num_rows": num_rows,
        "num_captions": num_rows,
        "arrays": list(shapes),
        "shards": [["all", num_rows]],
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return EmbeddingCache(folder)


def time_reading(plan: BatchPlan, num_steps: int) -> tuple[float, float]:
    """Seconds of an epoch's first read, which draws its order, and the median of the others."""
    seconds = []
    for step in range(num_steps):
        start = time.perf_counter()
        plan.read(step)
        seconds.append(time.perf_counter() - start)
    return seconds[0], median(seconds[1:])


def time_step(plan: BatchPlan, repeats: int) -> float:
    """Median seconds of a step of ViT-B-16's no tower."""
    torch.manual_seed(0)
    model = CLIPN(build_base(open_clip.get_model_config("ViT-B-16") or {}))
    model.add_no_tower()
    assert model.no_tower is not None
    config = TrainConfig(pairs=PairsConfig(source=""), model="", out_dir=Path())
    fabric = Fabric(accelerator="cpu", devices=1)
    trainee, optimizer = fabric.setup(model.no_tower, build_optimizer(model.no_tower, config))
    seconds = []
    for step in range(repeats + 1):
        batch = plan.read(step)
        start = time.perf_counter()
        clear_gradients(model.no_tower)
        take_gradients(trainee, batch, fabric=fabric, tau=model.tau, config=config)
        optimizer.step()
        seconds.append(time.perf_counter() - start)
    return median(seconds[1:])


def main() -> None:
    """Print what part of a step reading is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        cache = build_cache(Path(folder), args.rows)
        plan = BatchPlan(cache=cache, batch_size=args.batch_size, num_prompts=16, seed=0)
        first, later = time_reading(plan, num_steps=50)
        step = time_step(plan, args.repeats)
        large = BatchPlan(cache=cache, batch_size=2048, num_prompts=16, seed=0)
        _, of_2048 = time_reading(large, num_steps=20)
    print(
        f"{args.rows} pairs of width {DIM}, {torch.get_num_threads()} threads: {args.batch_size} "
        f"pairs are read in {1000 * later:.2f} ms, {later / step:.2%} of a step's {step:.2f} s; "
        f"2048 pairs in {1000 * of_2048:.1f} ms; an epoch's order takes {first:.2f} s once"
    )


if __name__ == "__main__":
    main()
