"""The figures of the compact model: zero-shot accuracy, and every score on both compact suites.

    python recipes/compact/evaluate.py --data-dir ../shared/data --out recipes/compact/figures.json
    python recipes/compact/evaluate.py --model runs/trial --data-dir runs/compact-pairs/held_out \
        --held-out

With `--held-out` the suites are measured on the images that training left aside, as `make_pairs.py`
has written them: that is what choices are made on. Without it they are measured on the test sets,
which no choice has seen.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from clipn.benchmarks import (
    EvaluationOptions,
    Result,
    SetSpec,
    Suite,
    evaluate,
    get_suite,
    open_set,
)
from clipn.benchmarks.embeddings import EmbeddingOptions, embed_set
from clipn.benchmarks.suites.compact import TINY_IMAGENET
from clipn.model import CLIPN, load_model

SUITES = ("compact-cifar10", "compact-tiny")
SCORES = ("ctw", "atd", "msp", "max_logit", "energy", "mcm")


def suite_for(name: str, *, held_out: bool) -> Suite:
    """A compact suite; of the held-out images it has the sets that were part of teaching."""
    suite = get_suite(name)
    if not held_out:
        return suite
    return replace(suite, ood_sets=suite.ood_sets[:1], name=f"{name}-held-out")


def measure(model: CLIPN, data_dir: Path, out_dir: Path, *, held_out: bool) -> list[list[Result]]:
    """The results of both suites."""
    options = EvaluationOptions(
        counts="report" if held_out else "enforce",
        existing="replace",
        num_resamples=0,
        cache_dir=out_dir / "cache",
        batch_size=250,
    )
    return [
        list(
            evaluate(
                model,
                suite_for(name, held_out=held_out),
                data_root=data_dir,
                out_dir=out_dir,
                scores=SCORES if model.has_no else SCORES[2:],
                options=options,
            ).results
        )
        for name in SUITES
    ]


def tiny_accuracy(model: CLIPN, data_dir: Path, out_dir: Path) -> float:
    """Zero-shot top-1 over all 200 classes of Tiny-ImageNet, a share."""
    suite = get_suite("compact-tiny")
    spec: SetSpec = replace(suite.id_set, name="tiny_imagenet", classes=None, num_images=None)
    everything = replace(suite, class_names=TINY_IMAGENET, class_ids=(), training_set=None)
    images = open_set(spec, data_dir, suite=everything)
    rows = embed_set(model, images, EmbeddingOptions(cache_dir=out_dir / "cache", batch_size=250))
    with torch.inference_mode():
        bank = model.class_bank(TINY_IMAGENET)
        answers = (torch.from_numpy(rows.values.copy()) @ bank.yes.T).argmax(dim=1)
    return (answers.numpy() == images.labels).mean().item()


def collect(results: list[list[Result]]) -> dict[str, Any]:
    """AUROC, FPR95 and what the rules do, in percent, by suite and score."""
    return {
        of_suite[0].suite: {
            result.score: {
                "sets": {
                    name: {metric: _percent(figures[metric]) for metric in ("auroc", "fpr95")}
                    for name, figures in (*result.sets.items(), ("average", result.averages["all"]))
                },
                "rules": {
                    name: {
                        "id kept": _percent(rule["id_kept"]),
                        **{f"{k} refused": _percent(v) for k, v in rule["refused"].items()},
                    }
                    for name, rule in result.rules.items()
                    if name != "calibrated"
                },
            }
            for result in of_suite
        }
        for of_suite in results
    }


def _percent(share: float) -> float:
    return round(100 * share, 2)


def print_tables(figures: dict[str, Any]) -> None:
    """The figures as Markdown."""
    print("Zero-shot top-1:", figures["accuracy"])
    for suite, scores in figures["suites"].items():
        names = list(next(iter(scores.values()))["sets"])
        print(f"\n| {suite} | {' | '.join(names)} |\n|{'---|' * (len(names) + 1)}")
        for score, found in scores.items():
            cells = [f"{s['auroc']:.2f} / {s['fpr95']:.2f}" for s in found["sets"].values()]
            print(f"| {score} | {' | '.join(cells)} |")
        for score, found in scores.items():
            for shares in found["rules"].values():
                print(f"\nRule {score}: " + ", ".join(f"{k} {v:.1f} %" for k, v in shares.items()))


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="compact")
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--work-dir", type=Path, default=Path("runs/figures"))
    parser.add_argument("--held-out", action="store_true", help="what choices are made on")
    parser.add_argument("--out", type=Path, help="JSON file of the figures")
    args = parser.parse_args()
    model = load_model(args.model)
    results = measure(model, args.data_dir, args.work_dir, held_out=args.held_out)
    figures = {
        "model": args.model,
        "fingerprint": model.fingerprint(),
        "accuracy": {
            "cifar10": _percent(results[0][0].id_accuracy or 0.0),
            "tiny_imagenet": _percent(tiny_accuracy(model, args.data_dir, args.work_dir)),
        },
        "suites": collect(results),
    }
    print_tables(figures)
    if args.out:
        args.out.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
