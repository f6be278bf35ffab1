"""A teaching step as published, and ours: same weights, same pairs, same loss.

    python benchmarks/teaching_step.py
    python benchmarks/teaching_step.py --batch-sizes 256 --repeats 1
    python benchmarks/teaching_step.py --device cuda --precision bf16-mixed --batch-sizes 2048

A step is forward, backward and AdamW. The published form is in `plain/published.py`; ours is the
step that `clipn train` takes, with the embeddings of the frozen towers in memory. The time to read
them is `cache_reading.py`'s subject. Weights and images are random, the shape is ViT-B-16's. Both
steps are taken in turn; a line has the median and the range of the ratios. Then our no tower's rate
is compared with that of large matrix products: operations of its products and attentions, as
PyTorch counts them, over the time of forward and backward.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Literal, TypeVar

import open_clip
import torch
from lightning_fabric import Fabric
from plain.published import PublishedTeaching
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from clipn import products
from clipn.data.embedding_cache import EmbeddedPairs
from clipn.model import CLIPN, build_base
from clipn.training import PairsConfig, TrainConfig
from clipn.training.batches import Batch
from clipn.training.optim import build_optimizer
from clipn.training.step import clear_gradients, take_gradients

WORDS = ("two", "dogs", "that", "run", "along", "a", "beach", "with", "their", "red", "ball")
LR = 1e-5
T = TypeVar("T")
Precision = Literal["32-true", "bf16-mixed"]


def draw_captions(num: int, lengths: str) -> list[str]:
    """Captions of 14 tokens each, or of 5 to 20 tokens (start and end included).

    Args:
        num: How many.
        lengths: "equal" or "mixed".
    """
    num_words = [12 if lengths == "equal" else 3 + number * 7 % 16 for number in range(num)]
    return [
        " ".join(WORDS[(number + place) % len(WORDS)] for place in range(words))
        for number, words in enumerate(num_words)
    ]


class Contest:
    """The same weights and the same pairs in both forms.

    Args:
        architecture: open_clip's name.
        batch_size: Pairs a step.
        lengths: Of the captions, see `draw_captions`.
        device: "cpu" or "cuda".
        precision: Of both.
    """

    def __init__(
        self,
        architecture: str,
        batch_size: int,
        lengths: str,
        *,
        device: str = "cpu",
        precision: Precision = "32-true",
    ) -> None:
        torch.manual_seed(0)
        self.fabric = Fabric(accelerator=device, devices=1, precision=precision)
        base = build_base(open_clip.get_model_config(architecture) or {}, name=architecture)
        model = CLIPN(base)
        model.add_no_tower()
        self.model = model.to(self.fabric.device)
        self.published = PublishedTeaching(model, architecture)
        self.published_optimizer = self.published.build_optimizer(lr=LR)
        self.config = TrainConfig(
            pairs=PairsConfig(source=""), model="", out_dir=Path(), lr=LR, precision=precision
        )
        optimizer = build_optimizer(self.model.no_tower, self.config)
        self.trainee, self.optimizer = self.fabric.setup(self.model.no_tower, optimizer)

        self.tokens = model.tokenizer(draw_captions(batch_size, lengths)).to(model.device)
        self.images = torch.randn(batch_size, 3, *[model.visual.image_size[0]] * 2).to(model.device)
        self.prompt_ids = torch.arange(batch_size) % 17
        with torch.inference_mode(), self.fabric.autocast():
            image, yes = model.encode_image(self.images), model.encode_text(self.tokens)
        pairs = EmbeddedPairs(
            image=image.clone().cpu(),
            yes=yes.clone().cpu(),
            tokens=model.text.cut(self.tokens).cpu(),
            caption_keys=torch.arange(batch_size),
            class_ids=torch.full((batch_size,), -1),
        )
        self.batch = build_batch(pairs, self.prompt_ids)

    def published_step(self) -> float:
        """A step as published; its loss."""
        with self.fabric.autocast():
            loss = self.published.losses(
                self.images, self.tokens, self.prompt_ids.to(self.images.device)
            )
        self.published_optimizer.zero_grad()
        loss.backward()
        self.published_optimizer.step()
        return loss.item()

    def our_step(self) -> float:
        """A step of ours; its loss."""
        total = self.our_gradients()
        self.optimizer.step()
        return total

    def our_gradients(self, *, clear: bool = True) -> float:
        """A step of ours without its last part, AdamW; its loss."""
        assert self.model.no_tower is not None
        if clear:
            clear_gradients(self.model.no_tower)
        losses = take_gradients(
            self.trainee, self.batch, fabric=self.fabric, tau=self.model.tau, config=self.config
        )
        return losses.total.item()

    def tower_alone(self) -> None:
        """Forward and backward of our no tower."""
        assert self.model.no_tower is not None
        clear_gradients(self.model.no_tower)
        prompt_ids = self.prompt_ids.to(self.model.device)
        no = self.trainee(self.batch.tokens.to(self.model.device), prompt_ids)
        self.fabric.backward(no, gradient=torch.ones_like(no))
        if self.model.device.type == "cuda":
            torch.cuda.synchronize()

    def count_operations(self) -> int:
        """Operations of the no tower's forward and backward, two for a multiplication and its sum.

        PyTorch does not count what oneDNN does, so they are counted in its own products.
        """
        threshold, products.MIN_SIZE = products.MIN_SIZE, 1 << 62
        with FlopCounterMode(display=False) as counter:
            self.tower_alone()
        products.MIN_SIZE = threshold
        return counter.get_total_flops()


def build_batch(pairs: EmbeddedPairs, prompt_ids: Tensor) -> Batch:
    """All pairs as one rank's batch."""
    rows = torch.arange(len(pairs.image))
    return Batch(
        rows=rows.numpy(),
        pairs=pairs,
        tokens=pairs.tokens,
        prompt_ids=prompt_ids,
        text_of_pair=rows,
        seed=0,
    )


def time_in_turn(
    steps: Sequence[Callable[[], T]], repeats: int
) -> tuple[list[T], list[list[float]]]:
    """Take steps in turn: what a first round gave, and the seconds of each in the rounds after."""
    outcomes = [step() for step in steps]
    times: list[list[float]] = [[] for _ in steps]
    for _ in range(repeats):
        for step, own in zip(steps, times, strict=True):
            start = time.perf_counter()
            step()
            own.append(time.perf_counter() - start)
    return outcomes, times


def compare(args: argparse.Namespace, batch_size: int, lengths: str) -> Contest:
    """Take both steps in turn and print how they compare."""
    contest = Contest(args.model, batch_size, lengths, device=args.device, precision=args.precision)
    losses, (published, ours) = time_in_turn(
        [contest.published_step, contest.our_step], args.repeats
    )
    ratios = [old / new for old, new in zip(published, ours, strict=True)]
    print(
        f"{batch_size} pairs, captions of {lengths} length, {contest.batch.tokens.shape[1]} tokens "
        f"at most\n"
        f"  published {median(published):.2f} s ({batch_size / median(published):.1f} pairs/s), "
        f"ours {median(ours):.3f} s ({batch_size / median(ours):.1f} pairs/s)\n"
        f"  {median(ratios):.1f} times as fast (range {min(ratios):.1f} to {max(ratios):.1f}); "
        f"loss {losses[0]:.6f} and {losses[1]:.6f}",
        flush=True,
    )
    return contest


def print_parts(contest: Contest, repeats: int) -> None:
    """Print what our step is made of, and the no tower's share of the machine's matmul rate."""
    device, dtype = contest.model.device, torch.float32
    if contest.config.precision == "bf16-mixed":
        dtype = torch.bfloat16
    a, b = torch.randn(2, 2048, 2048, device=device, dtype=dtype)

    def multiply() -> None:
        a @ b.T
        if device.type == "cuda":
            torch.cuda.synchronize()

    timed: list[Callable[[], object]] = [contest.tower_alone, contest.our_gradients]
    timed += [contest.optimizer.step, multiply, lambda: products.linear(a, b)]
    _, times = time_in_turn(timed, max(5, repeats))
    tower, gradients, update, by_torch, by_linear = (median(own) for own in times)
    rate = contest.count_operations() / tower / 1e9
    print(
        f"  no tower, forward and backward: {tower:.3f} s; losses and the rest "
        f"{max(0.0, gradients - tower):.3f} s; AdamW {update:.3f} s"
    )
    for name, other in (("torch.matmul", by_torch), ("clipn.products.linear", by_linear)):
        ceiling = 2 * 2048**3 / other / 1e9
        print(
            f"  no tower {rate:.0f} GFLOP/s: {rate / ceiling:.0%} of {name}'s {ceiling:.0f} "
            "(2048 x 2048 x 2048)",
            flush=True,
        )


def main() -> None:
    """Time both steps side by side and print their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="ViT-B-16")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--precision", choices=["32-true", "bf16-mixed"], default="32-true")
    args = parser.parse_args()
    where = f"{torch.get_num_threads()} threads"
    if args.device == "cuda":
        where = torch.cuda.get_device_name()
    print(f"{args.model}, {args.precision}, {where}, median of {args.repeats}")
    for batch_size in args.batch_sizes:
        for lengths in ("equal", "mixed"):
            print_parts(compare(args, batch_size, lengths), args.repeats)


if __name__ == "__main__":
    main()
