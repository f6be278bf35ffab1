"""Runs on two ranks: each compares its step in micro-batches with one process's."""

import json
from pathlib import Path

import torch
import torch.nn.functional as F
from lightning_fabric import Fabric

from clipn import distributed
from clipn.data.embedding_cache import EmbeddedPairs
from clipn.model import CLIPN, build_base
from clipn.training import PairsConfig, TrainConfig
from clipn.training.batches import Batch
from clipn.training.step import clear_gradients, take_gradients

NUM_PAIRS = 12
SMALL = {
    "embed_dim": 8,
    "vision_cfg": {"image_size": 16, "layers": 1, "width": 16, "head_width": 8, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2},
}


def draw_batch(model: CLIPN) -> Batch:
    tokens = model.tokenize([f"{'very ' * (n % 5)}large picture {n}" for n in range(NUM_PAIRS)])
    image, yes = F.normalize(torch.randn(2, NUM_PAIRS, 8), dim=-1)
    rows = torch.arange(NUM_PAIRS)
    pairs = EmbeddedPairs(
        image=image, yes=yes, tokens=tokens, caption_keys=rows % 9, class_ids=rows % 7 - 1
    )
    return part_of(pairs, rows % 5, slice(None))


def part_of(pairs: EmbeddedPairs, prompt_ids: torch.Tensor, own: slice) -> Batch:
    part = EmbeddedPairs(**{name: rows[own] for name, rows in vars(pairs).items()})
    text_of_pair = torch.arange(len(part.image))
    return Batch(
        rows=text_of_pair.numpy(),
        pairs=part,
        tokens=part.tokens,
        prompt_ids=prompt_ids[own],
        text_of_pair=text_of_pair,
        seed=0,
    )


def main(folder: Path) -> None:
    """Leave what was found in `rank-N.json`."""
    torch.manual_seed(0)
    model = CLIPN(build_base(SMALL))
    model.add_no_tower(num_prompts=4)
    no_tower = model.no_tower
    batch = draw_batch(model)
    config = TrainConfig(
        pairs=PairsConfig(source=""), model="", out_dir=Path(), micro_batch_size=None
    )

    alone = Fabric(accelerator="cpu", devices=1)
    clear_gradients(no_tower)
    trainee = alone.setup(no_tower)
    expected = take_gradients(trainee, batch, fabric=alone, tau=10.0, config=config)
    gradients = {name: p.grad.clone() for name, p in no_tower.named_parameters()}

    fabric = Fabric(accelerator="cpu", devices=2, strategy="ddp")
    fabric.launch()
    rank = distributed.rank()
    # The first rank has three micro-batches, the second two.
    size = 2 + rank
    own = slice(rank * NUM_PAIRS // 2, (rank + 1) * NUM_PAIRS // 2)
    config = TrainConfig(
        pairs=PairsConfig(source=""), model="", out_dir=Path(), micro_batch_size=size
    )
    trainee = fabric.setup(no_tower)
    reports = []
    for _ in range(2):  # the second time with a gradient that is left from the first
        clear_gradients(no_tower)
        part = part_of(batch.pairs, batch.prompt_ids, own)
        losses = take_gradients(trainee, part, fabric=fabric, tau=10.0, config=config)
        worst = max(
            ((p.grad - gradients[name]).abs().max() / gradients[name].abs().max()).item()
            for name, p in no_tower.named_parameters()
        )
        loss = abs(losses.total - expected.total).item()
        reports.append({"num_ranks": distributed.world_size(), "loss": loss, "gradients": worst})
    (folder / f"rank-{rank}.json").write_text(json.dumps(reports))
    fabric.barrier()
    distributed.leave()
