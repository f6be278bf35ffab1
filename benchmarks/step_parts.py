"""What makes our teaching step fast: the step with each of its means taken away.

    python benchmarks/step_parts.py [--batch-size 16] [--repeats 7]

ViT-B-16's no tower and captions of 5 to 20 tokens, as in `teaching_step.py`. The forms are taken in
turn, and each is compared with ours in the same round.
"""

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median

import torch
from teaching_step import Contest, time_in_turn

from clipn import products
from clipn.model.text_tower import TextTower


@contextmanager
def products_by_pytorch() -> Iterator[None]:
    """Linear layers as PyTorch has them."""
    threshold, products.MIN_SIZE = products.MIN_SIZE, 1 << 62
    yield
    products.MIN_SIZE = threshold


@contextmanager
def padded_captions() -> Iterator[None]:
    """All captions at the length of the longest."""
    forward, TextTower.forward = TextTower.forward, TextTower.embed_padded
    yield
    TextTower.forward = forward


def build_forms(contest: Contest) -> dict[str, Callable[[], object]]:
    """Our step, and the step with one of its means taken away, by name."""
    no_tower = contest.model.no_tower
    assert no_tower is not None
    plain_adamw = torch.optim.AdamW(no_tower.parameters(), lr=1e-5)

    def with_new_token_gradients() -> None:
        no_tower.zero_grad(set_to_none=True)
        contest.our_gradients(clear=False)
        contest.optimizer.step()

    def within(context: Callable[[], object]) -> Callable[[], object]:
        def step() -> None:
            with context():
                contest.our_step()

        return step

    def with_plain_adamw() -> None:
        contest.our_gradients()
        plain_adamw.step()

    return {
        "ours": contest.our_step,
        "products left to PyTorch": within(products_by_pytorch),
        "captions padded to the longest": within(padded_captions),
        "a new table of token gradients each step": with_new_token_gradients,
        "AdamW in PyTorch's default form": with_plain_adamw,
    }


def main() -> None:
    """Print what each of the means is worth."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=7)
    args = parser.parse_args()
    contest = Contest("ViT-B-16", args.batch_size, "mixed")
    forms = build_forms(contest)
    _, (ours, *others) = time_in_turn(list(forms.values()), args.repeats)
    names = list(forms)[1:]
    print(
        f"ViT-B-16, {args.batch_size} pairs, captions of 5 to 20 tokens, "
        f"{torch.get_num_threads()} threads: ours {1000 * median(ours):.0f} ms"
    )
    for name, own in zip(names, others, strict=True):
        ratios = [other / base for other, base in zip(own, ours, strict=True)]
        print(
            f"  {name}: {1000 * median(own):.0f} ms, {median(ratios):.2f} times as long "
            f"(range {min(ratios):.2f} to {max(ratios):.2f})"
        )


if __name__ == "__main__":
    main()
