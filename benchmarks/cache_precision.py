"""What float16 in the embedding cache does to results, with the compact model.

    python benchmarks/cache_precision.py --data-dir ../shared/data [--seeds 3]

The compact CLIP is taught "no" twice from the same Tiny-ImageNet training images, from a float32
and from a float16 cache, all else alike. Both are then asked to tell other training images of 100
of the classes from those of the other 100. No test set is touched. Below, the first model once
more, with the image embeddings that it is asked about rounded to float16.
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from clipn import metrics, scores
from clipn.data.image_batches import load_batches
from clipn.model import CLIPN, load_model
from clipn.training import PairsConfig, TrainConfig, train

NUM_TRAINING, NUM_ASKED, NUM_KNOWN = 6000, 4000, 100


def load_base() -> CLIPN:
    """The compact CLIP without its "no"."""
    model = load_model("compact")
    model.no_tower, model.negated_templates = None, ()
    return model


def teach(folder: Path, dtype: Literal["float16", "float32"], seed: int) -> CLIPN:
    """Teach "no" from a cache of that precision, set up as in the compact model's recipe."""
    pairs = PairsConfig(
        source=str(folder / "pairs.parquet"), name_column="name", class_column="label"
    )
    config = TrainConfig(
        pairs=pairs,
        model="compact",
        out_dir=folder / f"{dtype}-{seed}",
        cache_dir=folder / dtype,
        cache_dtype=dtype,
        captions="per_class",
        losses=("itbo",),
        lr=1e-3,
        epochs=5,
        batch_size=512,
        seed=seed,
        accelerator="cpu",
    )
    return train(config, model=load_base())


@torch.inference_mode()
def embed(model: CLIPN, table: pa.Table) -> Tensor:
    """Image embeddings, (images, dim)."""
    images = (row["bytes"] for row in table["image"].to_pylist())
    batches = load_batches(images, model.preprocess, batch_size=256)
    return torch.cat([model.encode_image(batch.pixels) for batch in batches])


def ask(model: CLIPN, images: Tensor, is_known: np.ndarray, names: list[str]) -> list[float]:
    """AUROC and FPR95 of atd, then of ctw, in percent."""
    logits = model.logits(images, model.class_bank(names))
    figures = []
    ways: tuple[Callable[[Tensor, Tensor], Tensor], ...] = (scores.atd, scores.ctw)
    for score in ways:
        values = score(logits.yes, logits.no).numpy()
        known, unknown = values[is_known], values[~is_known]
        figures.append(100 * metrics.auroc(known, unknown))
        figures.append(100 * metrics.fpr_at_tpr(known, unknown, tpr=0.95))
    return figures


def main() -> None:
    """Teach and ask, seed by seed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    table = pq.read_table(args.data_dir / "tiny_imagenet_train.parquet")
    order = np.random.default_rng(0).permutation(len(table))
    asked = table.take(order[NUM_TRAINING : NUM_TRAINING + NUM_ASKED])
    labels = table["label"].to_numpy()
    name_of = dict(zip(labels.tolist(), table["name"].to_pylist(), strict=True))
    names = [name_of[label] for label in range(NUM_KNOWN)]
    is_known = asked["label"].to_numpy() < NUM_KNOWN
    images = embed(load_base(), asked)
    rounded = torch.nn.functional.normalize(images.half().float(), dim=-1)
    print(
        f"{NUM_TRAINING} images taught, {NUM_ASKED} asked about; the largest change of a cosine "
        f"by rounding is {(images * rounded).sum(dim=1).sub(1).abs().max():.1e}\n"
        "                         atd AUROC  FPR95   ctw AUROC  FPR95"
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pq.write_table(table.take(order[:NUM_TRAINING]), folder / "pairs.parquet")
        for seed in range(args.seeds):
            from_float32 = teach(folder, "float32", seed)
            from_float16 = teach(folder, "float16", seed)
            for what, model, embeddings in (
                ("float32 cache", from_float32, images),
                ("float16 cache", from_float16, images),
                ("float16 images", from_float32, rounded),
            ):
                atd, atd_fpr, ctw, ctw_fpr = ask(model, embeddings, is_known, names)
                print(
                    f"seed {seed}, {what:<15} {atd:9.3f} {atd_fpr:8.3f} {ctw:10.3f} {ctw_fpr:8.3f}"
                )


if __name__ == "__main__":
    main()
