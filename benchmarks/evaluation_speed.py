"""How long all scores that need no pixels take on embeddings of ImageNet's size.

    python benchmarks/evaluation_speed.py

50,000 ID and 4 x 10,000 OOD embeddings of width 512, 1,000 classes, 10,000 negative words, 50,000
labelled ID embeddings to fit on: scores, metrics and bootstrap intervals, as `clipn eval` computes
them once the images are embedded. Prints seconds for each score, and the peak of memory.
"""

import argparse
import resource
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from clipn.benchmarks.embedded import EmbeddedSet, EmbeddedSuite
from clipn.benchmarks.embeddings import EmbeddingOptions, Rows
from clipn.benchmarks.figures import measure_calibrated, measure_sets
from clipn.benchmarks.scoring import score_suite
from clipn.data.image_sets import ImageSet
from clipn.model import CLIPN, ClassBank, build_base
from clipn.scores import SCORES

DIM = 512
ARCHITECTURE = {
    "embed_dim": DIM,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "head_width": 32, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 1},
}


def around(centres: Tensor, spread: float, num: int) -> tuple[Tensor, Tensor]:
    """Embeddings scattered around centres, and which centre each is of."""
    labels = torch.randint(len(centres), (num,))
    noise = F.normalize(torch.randn(num, DIM), dim=-1)
    return F.normalize(centres[labels] + spread * noise, dim=-1), labels


def embedded(name: str, values: Tensor, labels: Tensor | None) -> EmbeddedSet:
    """A set whose images are never asked for."""
    images = ImageSet(
        name=name,
        images=[b""] * len(values),
        labels=None if labels is None else tuple(labels.tolist()),
        label_names=(),
        ids=[str(row) for row in range(len(values))],
        fingerprint="0" * 16,
    )
    return EmbeddedSet(images=images, rows=Rows(values=values.numpy(), reasons={}))


def build_suite(num_images: int, num_classes: int, num_words: int) -> EmbeddedSuite:
    """Random embeddings of which the ID ones lie near their classes."""
    model = CLIPN(build_base(ARCHITECTURE, name="random"))
    model.add_no_tower()
    with torch.no_grad():
        model.logit_scale.fill_(np.log(100))
    centres = F.normalize(torch.randn(num_classes, DIM), dim=-1)
    strangers = F.normalize(torch.randn(num_classes, DIM), dim=-1)
    words = F.normalize(torch.randn(num_words, DIM), dim=-1)
    no = F.normalize(centres + 0.5 * torch.randn(num_classes, DIM) / DIM**0.5, dim=-1)
    names = tuple(f"class {number}" for number in range(num_classes))
    return EmbeddedSuite(
        name="random",
        model=model,
        bank=ClassBank(names=names, templates=("{}",), yes=centres, no=no),
        id_set=embedded("id", *around(centres, 2.0, num_images)),
        ood_sets={
            f"ood{number}": embedded(
                f"ood{number}", around(strangers, 2.0, num_images // 5)[0], None
            )
            for number in range(4)
        },
        training_set=embedded("training", *around(centres, 2.0, num_images)),
        options=EmbeddingOptions(cache_dir=Path("unused")),
        negatives={"neg_label": words, "csp": words},
        outliers=strangers[: num_classes // 2],
    )


def main() -> None:
    """Score, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--num-images", type=int, default=50_000)
    parser.add_argument("--num-classes", type=int, default=1_000)
    parser.add_argument("--num-words", type=int, default=10_000)
    parser.add_argument("--num-resamples", type=int, default=1_000)
    args = parser.parse_args()
    torch.manual_seed(0)
    suite = build_suite(args.num_images, args.num_classes, args.num_words)
    print(
        f"{args.num_images} ID + 4 x {args.num_images // 5} OOD embeddings of width {DIM}, "
        f"{args.num_classes} classes, {args.num_words} words, {args.num_resamples} resamples, "
        f"{torch.get_num_threads()} threads"
    )
    kinds = dict.fromkeys(suite.ood_sets, "ood")
    start = time.perf_counter()
    for score in SCORES.values():
        if score.needs & {"gradients", "patches"}:
            continue
        began = time.perf_counter()
        scores = score_suite(score, {}, suite)
        scored = time.perf_counter()
        figures = measure_sets(scores, kinds, num_resamples=args.num_resamples, seed=0)
        measure_calibrated(scores, tpr=0.95, seed=0)
        auroc = np.mean([values["auroc"] for values in figures.values()])
        done = time.perf_counter()
        print(
            f"{score.name:10} {scored - began:6.1f} s to score, {done - scored:5.1f} s to measure "
            f"(AUROC {auroc:.3f})"
        )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"all        {time.perf_counter() - start:6.1f} s, peak {peak:.2f} GiB")


if __name__ == "__main__":
    main()
