"""The last step of the compact model: into the package, in half precision, with its card.

    python recipes/compact/ship.py --model runs/compact-no
    python recipes/compact/evaluate.py --data-dir ../shared/data --out recipes/compact/figures.json
    python recipes/compact/ship.py --model runs/compact-no --figures recipes/compact/figures.json

The figures are those of the shipped weights, so the card is written a second time, with them.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from clipn.model import load_model, save_model
from clipn.model.folder import read_model_config
from clipn.model.weights import COMPACT_FOLDER

CARD = Path(__file__).with_name("card.md")


def describe(figures: dict[str, Any]) -> str:
    """The figures as the card's tables."""
    accuracy = figures["accuracy"]
    lines = [
        f"Zero-shot top-1: {accuracy['cifar10']:.1f} % on CIFAR-10's test set and "
        f"{accuracy['tiny_imagenet']:.1f} % on Tiny-ImageNet's validation set. AUROC / FPR95 "
        "(ID positive), in percent, mean over the OOD sets:",
        "",
        "| score | CIFAR-10 against four sets | Tiny-ImageNet, 100 classes against 100 |",
        "|---|---|---|",
    ]
    suites = list(figures["suites"].values())
    for score in suites[0]:
        averages = [suite[score]["sets"]["average"] for suite in suites]
        cells = [f"{average['auroc']:.1f} / {average['fpr95']:.1f}" for average in averages]
        lines.append(f"| {score} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Write the compact model into the package."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--figures", type=Path)
    args = parser.parse_args()
    figures = describe(json.loads(args.figures.read_text())) if args.figures else ""
    card = CARD.read_text().replace("FIGURES", figures)
    training = read_model_config(args.model)["training"]
    save_model(
        load_model(args.model), COMPACT_FOLDER, dtype="float16", training=training, card=card
    )
    size = (COMPACT_FOLDER / "model.safetensors").stat().st_size / 1e6
    print(f"{COMPACT_FOLDER}: {size:.1f} MB")


if __name__ == "__main__":
    main()
