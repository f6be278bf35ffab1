"""Memory of a step that takes a batch whole, in micro-batches, and with checkpointing.

    python benchmarks/step_memory.py [--batch-size 256] [--micro-batch-size 32]

The no tower has ViT-B-16's shape, captions have 14 tokens. The memory is the most that the process
had beyond what it had before the step, with the gradients in place, as Linux counts it.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path

import open_clip
import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from loss_memory import forget_most, memory_gib

from clipn.data.embedding_cache import EmbeddedPairs
from clipn.model import CLIPN, build_base
from clipn.training import PairsConfig, TrainConfig
from clipn.training.batches import Batch
from clipn.training.step import clear_gradients, take_gradients


def build_batch(model: CLIPN, size: int) -> Batch:
    """Random images, and captions of 14 tokens."""
    tokens = model.tokenize(
        [f"two dogs that run along a beach with their red {n}" for n in range(size)]
    )
    image, yes = F.normalize(torch.randn(2, size, 512), dim=-1)
    rows = torch.arange(size)
    return Batch(
        rows=rows.numpy(),
        pairs=EmbeddedPairs(
            image=image,
            yes=yes,
            tokens=tokens,
            caption_keys=rows,
            class_ids=torch.full_like(rows, -1),
        ),
        tokens=tokens,
        prompt_ids=rows % 17,
        text_of_pair=rows,
        seed=0,
    )


def main() -> None:
    """Print memory and time of each way."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--micro-batch-size", type=int, default=32)
    args = parser.parse_args()
    torch.manual_seed(0)
    model = CLIPN(build_base(open_clip.get_model_config("ViT-B-16") or {}))
    model.add_no_tower()
    assert model.no_tower is not None
    fabric = Fabric(accelerator="cpu", devices=1)
    trainee = fabric.setup(model.no_tower)
    plain = TrainConfig(pairs=PairsConfig(source=""), model="", out_dir=Path())
    micro = replace(plain, micro_batch_size=args.micro_batch_size)
    # From the least memory to the most: what a way has given back stays with the process.
    ways = {
        f"micro-batches of {args.micro_batch_size}, checkpointing": replace(
            micro, grad_checkpointing=True
        ),
        f"micro-batches of {args.micro_batch_size}": micro,
        "whole, checkpointing": replace(plain, grad_checkpointing=True),
        "whole": plain,
    }

    def take(batch: Batch, config: TrainConfig) -> float:
        assert model.no_tower is not None
        model.no_tower.text.set_grad_checkpointing(config.grad_checkpointing)
        losses = take_gradients(trainee, batch, fabric=fabric, tau=model.tau, config=config)
        return losses.total.item()

    print(f"{args.batch_size} pairs, {torch.get_num_threads()} threads")
    batch = build_batch(model, args.batch_size)
    clear_gradients(model.no_tower)
    take(build_batch(model, 4), plain)  # loads what it needs, and makes the gradients
    for name, config in ways.items():
        forget_most()
        before, start = memory_gib("VmRSS"), time.perf_counter()
        loss = take(batch, config)
        seconds, most = time.perf_counter() - start, memory_gib("VmHWM") - before
        print(f"  {name}: {most:.2f} GiB, {seconds:.1f} s, loss {loss:.6f}", flush=True)


if __name__ == "__main__":
    main()
