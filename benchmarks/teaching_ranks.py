"""Teaching on several ranks against one process, on the same cores and with the same batch.

    python benchmarks/teaching_ranks.py [--model ViT-B-32] [--batch-size 64] [--steps 4]

Each line is a run of its own under torchrun over gloo: the same pairs, shared out evenly; a step is
forward, losses over all ranks, backward, gradients averaged, AdamW. On two cores one process with
two threads and two ranks with a thread each have the same means; one rank with one thread shows
what the second core brings; four ranks have more threads than there are cores. Weights, embeddings
and tokens are random; captions have 14 tokens.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import open_clip
import torch
import torch.nn.functional as F
from lightning_fabric import Fabric

from clipn import distributed
from clipn.data.embedding_cache import EmbeddedPairs
from clipn.model import CLIPN, build_base
from clipn.training import PairsConfig, TrainConfig
from clipn.training.batches import Batch
from clipn.training.optim import build_optimizer
from clipn.training.step import clear_gradients, take_gradients

RUNS = ((1, 2), (2, 1), (1, 1), (4, 1))  # ranks, threads of each
LENGTH, END = 14, 49407
WARM_UP = 1


def make_batch(size: int, *, rank: int, dim: int) -> Batch:
    """A rank's pairs, random but with captions of one length."""
    generator = torch.Generator().manual_seed(rank)
    tokens = torch.randint(1, END - 1, (size, LENGTH), generator=generator)
    tokens[:, -1] = END
    image, yes = F.normalize(torch.randn(2, size, dim, generator=generator), dim=-1)
    keys = torch.arange(size) + rank * size
    return Batch(
        rows=np.arange(size),
        pairs=EmbeddedPairs(
            image=image,
            yes=yes,
            tokens=tokens,
            caption_keys=keys,
            class_ids=torch.full((size,), -1),
        ),
        tokens=tokens,
        prompt_ids=torch.randint(17, (size,), generator=generator),
        text_of_pair=torch.arange(size),
        seed=0,
    )


def teach(args: argparse.Namespace) -> None:
    """What each rank does; the first prints the pairs a second of all."""
    num_ranks = int(os.environ["WORLD_SIZE"])
    strategy = "ddp" if num_ranks > 1 else "auto"
    fabric = Fabric(accelerator="cpu", devices=num_ranks, strategy=strategy)
    fabric.launch()
    torch.manual_seed(0)
    architecture = open_clip.get_model_config(args.model)
    model = CLIPN(build_base(architecture, name=args.model))
    model.add_no_tower()
    assert model.no_tower is not None
    config = TrainConfig(pairs=PairsConfig(source=""), model="", out_dir=Path(), lr=1e-5)
    optimizer = build_optimizer(model.no_tower, config)
    trainee, optimizer_on_device = fabric.setup(model.no_tower, optimizer)
    batch = make_batch(
        args.batch_size // num_ranks, rank=fabric.global_rank, dim=architecture["embed_dim"]
    )
    for step in range(WARM_UP + args.steps):
        if step == WARM_UP:
            start = time.perf_counter()
        clear_gradients(model.no_tower)
        take_gradients(trainee, batch, fabric=fabric, tau=model.tau, config=config)
        optimizer_on_device.step()
        distributed.largest(0)  # as the loop does, to learn of signals
    if fabric.is_global_zero:
        print(args.steps * args.batch_size / (time.perf_counter() - start))
    distributed.leave()


def launch(num_ranks: int, num_threads: int) -> float:
    """Run this script under torchrun; the pairs a second."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command = [*launcher, "--nproc-per-node", str(num_ranks), __file__, *sys.argv[1:]]
    threads = {"OMP_NUM_THREADS": str(num_threads), "TEACHING_RANKS_WORKER": "1"}
    done = subprocess.run(
        command, env={**os.environ, **threads}, check=True, stdout=subprocess.PIPE, text=True
    )
    return float(done.stdout.split()[-1])


def main() -> None:
    """Run each number of ranks and print rates and ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="ViT-B-32")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--steps", type=int, default=4)
    args = parser.parse_args()
    if os.environ.get("TEACHING_RANKS_WORKER"):
        teach(args)
        return
    print(
        f"{args.model}, {args.batch_size} pairs a step, {args.steps} steps, {os.cpu_count()} cores"
    )
    rates = {run: launch(*run) for run in RUNS}
    for (num_ranks, num_threads), rate in rates.items():
        print(
            f"{num_ranks} ranks of {num_threads} threads  {rate:6.1f} pairs/s, "
            f"{rate / rates[1, 2]:.0%} of one process with two threads, "
            f"{rate / (min(num_ranks * num_threads, 2) * rates[1, 1]):.0%} of one thread a core"
        )


if __name__ == "__main__":
    main()
