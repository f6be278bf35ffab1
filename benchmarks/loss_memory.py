"""Memory and time of the loss on a large batch, and its gradient beside that of the dense form.

    python benchmarks/loss_memory.py [--pairs 32768] [--dense-pairs 4096]

First the loss is taken in our form and by its definition, with matrices of all pairs, on a batch
that allows it. Then in ours alone on the large batch. The memory is the most that the process had
beyond what it had with the inputs, as Linux counts it.
"""

import argparse
import re
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from clipn.losses import PairKeys, clipn_loss, match_pairs, tso

TAU, DIM = 100.0, 512


def memory_gib(which: str) -> float:
    """This process's memory in GiB: what it has now (VmRSS) or the most it had (VmHWM)."""
    found = re.search(rf"{which}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found.group(1)) / 2**20


def forget_most() -> None:
    """Let the most that this process had be what it has now."""
    Path("/proc/self/clear_refs").write_text("5")


def draw(num_pairs: int) -> tuple[Tensor, Tensor, Tensor, PairKeys]:
    """Embeddings near each other as those of a CLIP are, and keys of which some occur twice."""
    common = torch.randn(DIM)
    image, yes, no = (F.normalize(common + torch.randn(num_pairs, DIM), dim=-1) for _ in range(3))
    keys = PairKeys(torch.randint(4 * num_pairs, (num_pairs,)), torch.full((num_pairs,), -1))
    return image, yes, no.requires_grad_(), keys


def dense_loss(image: Tensor, yes: Tensor, no: Tensor, keys: PairKeys) -> Tensor:
    """The loss by its definition."""
    logits = TAU * image @ (no - yes).T
    is_opposite = ~match_pairs(keys, keys)
    off_diagonal = F.softplus(-logits)[is_opposite].mean()
    return 0.5 * (F.softplus(logits.diagonal()).mean() + off_diagonal + tso(yes, no))


def measure(name: str, image: Tensor, yes: Tensor, no: Tensor, keys: PairKeys) -> Tensor:
    """Print a loss's value, time and memory; its gradient."""
    forget_most()
    before, start = memory_gib("VmRSS"), time.perf_counter()
    if name == "dense":
        loss = dense_loss(image, yes, no, keys)
    else:
        loss = clipn_loss(image, yes, no, tau=TAU, keys=keys).total
    (gradient,) = torch.autograd.grad(loss, no)
    seconds = time.perf_counter() - start
    print(
        f"  {name}: loss {loss.item():.6f}, forward and backward {seconds:.2f} s, "
        f"{memory_gib('VmHWM') - before:.2f} GiB beyond its inputs",
        flush=True,
    )
    return gradient


def main() -> None:
    """Compare both forms, then take the large batch."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=32768)
    parser.add_argument("--dense-pairs", type=int, default=4096)
    args = parser.parse_args()
    torch.manual_seed(0)
    small, large = draw(args.dense_pairs), draw(args.pairs)
    clipn_loss(*(rows[:64] for rows in small[:3]), tau=TAU).total.backward()  # loads what it needs
    print(f"{args.dense_pairs} pairs of width {DIM}, {torch.get_num_threads()} threads")
    ours, dense = (measure(name, *small) for name in ("in blocks", "dense"))
    image, yes, no, keys = small
    rows = no.detach().double().requires_grad_()
    dense_loss(image.double(), yes.double(), rows, keys).backward()
    assert rows.grad is not None
    for name, gradient in (("in blocks", ours), ("dense", dense)):
        error = (gradient - rows.grad).abs().max() / rows.grad.abs().max()
        print(f"  {name}: gradient {error:.1e} of its largest from the dense form in float64")
    del ours, dense, rows
    print(f"{args.pairs} pairs of width {DIM}")
    measure("in blocks", *large)


if __name__ == "__main__":
    main()
