"""The figures of the compact model: zero-shot accuracy, and every score on two OOD tasks.

    python recipes/compact/evaluate.py --model compact --data-dir ../shared/data \
        --out recipes/compact/figures.json
    python recipes/compact/evaluate.py --model runs/trial --data-dir ../shared/data --held-out

With `--held-out` the tasks are made from the images that training left aside: that is what choices
are made on. Without it they are made from the test sets, which no choice has seen.

All sets of a task are first brought to one native resolution, 32 px for CIFAR-10 and 64 px for
Tiny-ImageNet: otherwise blur alone would tell them apart.
"""

import argparse
import io
import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from PIL import Image
from torch import Tensor

from classes import CIFAR, TINY, ImageClass, read_classes
from clipn.benchmarks.suites.compact import CIFAR10_KINDS
from clipn.metrics import auroc, fpr_at_tpr
from clipn.model import CLIPN, ClassBank, load_model
from clipn.scores import SCORES, ImageBatch, Task, atd_refuses, ctw_refuses
from images import read_images, split_images

BATCH = 250


def read_parquet(path: Path) -> tuple[list[Image.Image], np.ndarray, list[str]]:
    """Images, labels and class names of a file."""
    rows = pq.read_table(path, columns=["image", "label", "name"]).to_pylist()
    images = [Image.open(io.BytesIO(row["image"]["bytes"])).convert("RGB") for row in rows]
    return images, np.array([row["label"] for row in rows]), [row["name"] for row in rows]


def at_size(images: Iterable[Image.Image], size: int) -> list[Image.Image]:
    """The images at one native resolution."""
    bicubic = Image.Resampling.BICUBIC
    return [i if i.size == (size, size) else i.resize((size, size), bicubic) for i in images]


@torch.inference_mode()
def embed(model: CLIPN, images: list[Image.Image]) -> Tensor:
    """Image embeddings, (images, dim)."""
    batches = (images[first : first + BATCH] for first in range(0, len(images), BATCH))
    return torch.cat([model.encode_image(batch) for batch in batches])


def accuracy(model: CLIPN, embeddings: Tensor, bank: ClassBank, labels: np.ndarray) -> float:
    """Zero-shot top-1 accuracy in percent."""
    answers = (embeddings @ bank.yes.T).argmax(dim=1).numpy()
    return round(100 * float((answers == labels).mean()), 2)


def measure(model: CLIPN, bank: ClassBank, inside: Tensor, outside: dict[str, Tensor]) -> dict:
    """AUROC and FPR95 (ID positive) in percent of every score on every OOD set, and their mean."""
    task = Task(yes=bank.yes, no=bank.no, tau=model.tau)
    served = {"no"} if bank.no is not None else set()
    scorers = {name: s.prepare(task) for name, s in SCORES.items() if s.needs <= served}

    def score_all(embeddings: Tensor) -> dict[str, np.ndarray]:
        batch = ImageBatch(image=embeddings)
        return {name: scorer(batch).numpy() for name, scorer in scorers.items()}

    id_scores = score_all(inside)
    results: dict = {name: {} for name in id_scores}
    for set_name, embeddings in outside.items():
        for name, ood_scores in score_all(embeddings).items():
            results[name][set_name] = {
                "auroc": round(100 * auroc(id_scores[name], ood_scores), 2),
                "fpr95": round(100 * fpr_at_tpr(id_scores[name], ood_scores), 2),
            }
    for sets in results.values():
        sets["average"] = {
            metric: round(float(np.mean([values[metric] for values in sets.values()])), 2)
            for metric in ("auroc", "fpr95")
        }
    if bank.no is not None:
        results["rules"] = measure_rules(model, bank, inside, outside)
    return results


def measure_rules(
    model: CLIPN, bank: ClassBank, inside: Tensor, outside: dict[str, Tensor]
) -> dict[str, dict[str, float]]:
    """Share of ID images kept and of OOD images refused, in percent, by the paper's two rules."""
    rules = {"ctw": ctw_refuses, "atd": atd_refuses}
    return {
        name: {
            "id kept": round(
                100 - 100 * refuses(*model.logits(inside, bank)).double().mean().item(), 2
            ),
            **{
                f"{set_name} refused": round(
                    100 * refuses(*model.logits(embeddings, bank)).double().mean().item(), 2
                )
                for set_name, embeddings in outside.items()
            },
        }
        for name, refuses in rules.items()
    }


def read_test_sets(data_dir: Path) -> dict[str, tuple[list[Image.Image], np.ndarray]]:
    """The sets that no choice has seen."""
    names = {
        "cifar10": "cifar10_test",
        "tiny": "tiny_imagenet_val",
        "textures10": "textures10",
        "scenes15": "scenes15",
        "mnist": "mnist_test",
    }
    return {name: read_parquet(data_dir / f"{file}.parquet")[:2] for name, file in names.items()}


def read_held_out_sets(data_dir: Path) -> dict[str, tuple[list[Image.Image], np.ndarray]]:
    """The part of the training files that training left aside."""
    _, held_out = split_images(read_images(data_dir), held_out=0.05, seed=0)
    images = [Image.fromarray(pixels.permute(1, 2, 0).numpy()) for pixels in held_out.pixels]
    labels = held_out.labels.numpy()
    num_tiny = 200
    return {
        "cifar10": (
            [images[i] for i in np.flatnonzero(labels >= num_tiny)],
            labels[labels >= num_tiny] - num_tiny,
        ),
        "tiny": ([images[i] for i in np.flatnonzero(labels < num_tiny)], labels[labels < num_tiny]),
    }


def evaluate(model: CLIPN, classes: list[ImageClass], sets: dict) -> dict:
    """All figures."""
    tiny_names = [c.name for c in classes if c.source == TINY]
    cifar_names = [c.name for c in classes if c.source == CIFAR]
    cifar, cifar_labels = sets["cifar10"]
    tiny, tiny_labels = sets["tiny"]
    kinds = {kind for group in CIFAR10_KINDS.values() for kind in group}
    other = np.array([tiny_names[label] not in kinds for label in tiny_labels])

    figures: dict = {"counts": {name: len(images) for name, (images, _) in sets.items()}}
    bank = model.class_bank(cifar_names)
    inside = embed(model, at_size(cifar, 32))
    figures["accuracy"] = {"cifar10": accuracy(model, inside, bank, cifar_labels)}
    outside = {
        "tiny_imagenet": embed(model, at_size([tiny[i] for i in np.flatnonzero(other)], 32)),
        **{
            name: embed(model, at_size(images, 32))
            for name, (images, _) in sets.items()
            if name not in ("cifar10", "tiny")
        },
    }
    figures["counts"]["tiny without CIFAR-10's classes"] = int(other.sum())
    figures["cifar10 against"] = measure(model, bank, inside, outside)

    embeddings = embed(model, at_size(tiny, 64))
    figures["accuracy"]["tiny_imagenet"] = accuracy(
        model, embeddings, model.class_bank(tiny_names), tiny_labels
    )
    is_inside = torch.from_numpy(tiny_labels < 100)
    figures["tiny_imagenet classes 0-99 against"] = measure(
        model,
        model.class_bank(tiny_names[:100]),
        embeddings[is_inside],
        {"classes 100-199": embeddings[~is_inside]},
    )
    return figures


def print_tables(figures: dict) -> None:
    """The figures as Markdown."""
    print(f"Zero-shot top-1: {figures['accuracy']}\n")
    for task, results in figures.items():
        if "against" not in task:
            continue
        rules = results.get("rules", {})
        scores = {name: sets for name, sets in results.items() if name != "rules"}
        sets = list(next(iter(scores.values())))
        print(f"| {task} | " + " | ".join(sets) + " |\n|---" * 1 + "|---" * len(sets) + "|")
        for name, values in scores.items():
            cells = [f"{values[s]['auroc']:.2f} / {values[s]['fpr95']:.2f}" for s in sets]
            print(f"| {name} | " + " | ".join(cells) + " |")
        for name, shares in rules.items():
            print(f"\nRule {name}: " + ", ".join(f"{k} {v:.1f} %" for k, v in shares.items()))
        print()


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="compact")
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--held-out", action="store_true", help="what choices are made on")
    parser.add_argument("--out", type=Path, help="JSON file of the figures")
    args = parser.parse_args()
    model = load_model(args.model)
    read_sets = read_held_out_sets if args.held_out else read_test_sets
    figures = evaluate(model, read_classes(args.data_dir), read_sets(args.data_dir))
    figures = {"model": args.model, "fingerprint": model.fingerprint(), **figures}
    print_tables(figures)
    if args.out:
        args.out.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
