"""Runs on several ranks: each says how far it is from one process that has all pairs."""

import json
from pathlib import Path

import torch
import torch.distributed as dist
import torch.nn.functional as F

from clipn import distributed
from clipn.losses import PairKeys, clipn_loss

NUM_PAIRS, TAU, PARTS = 24, 100.0, ("itbo", "tso", "ranking")


def main(folder: Path) -> None:
    """Leave what was found in `rank-N.json`."""
    torch.manual_seed(0)
    image, yes, no = F.normalize(torch.randn(3, NUM_PAIRS, 16, dtype=torch.float64), dim=-1)
    keys = PairKeys(torch.randint(15, (NUM_PAIRS,)), torch.randint(-1, 8, (NUM_PAIRS,)))
    cases = [(keys, 0.0), (keys, 0.5), (None, 0.0)]

    # Before there is another rank: the loss of one process.
    expected = []
    for case_keys, hardness in cases:
        rows = no.clone().requires_grad_()
        options = {"tau": TAU, "hardness": hardness, "parts": PARTS, "seed": 7}
        loss = clipn_loss(image, yes, rows, keys=case_keys, **options)
        loss.total.backward()
        expected.append((torch.stack(loss).detach(), rows.grad))

    dist.init_process_group("gloo")
    rank, num_ranks = distributed.rank(), distributed.world_size()
    size = NUM_PAIRS // num_ranks
    own = slice(rank * size, rank * size + size)
    reports = []
    for (case_keys, hardness), (losses, gradient) in zip(cases, expected, strict=True):
        rows = no[own].clone().requires_grad_()
        own_keys = None if case_keys is None else case_keys.part(own)
        options = {"tau": TAU, "hardness": hardness, "parts": PARTS, "seed": 7}
        share = clipn_loss(image[own], yes[own], rows, keys=own_keys, **options)
        share.total.backward()
        mean = distributed.total(torch.stack(share)) / num_ranks
        difference = rows.grad / num_ranks - gradient[own]
        reports.append(
            {
                "losses": ((mean - losses).abs() / losses).max().item(),
                "gradient": (difference.abs().max() / gradient.abs().max()).item(),
                "is_a_share": not torch.allclose(torch.stack(share).detach(), losses),
            }
        )
    (folder / f"rank-{rank}.json").write_text(json.dumps(reports))
    dist.barrier()
    distributed.leave()
