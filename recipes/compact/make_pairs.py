"""Step 2 of the compact model, its pairs: the training images at every resolution they are seen at.

    python recipes/compact/make_pairs.py --data-dir ../shared/data --out-dir runs/compact-pairs

Writes `training.parquet` for `clipn train`: Tiny-ImageNet at 64 px, and at 32 px too (else "no"
could be learned from blur), CIFAR-10 at its own 32 px. What step 1 held out is held out here too,
and written to `held_out/` as if it were the test sets, with far sets made of it (`anomalies.py`):
choices are made there (`study.py`, `evaluate.py`).
"""

import argparse
import io
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from PIL import Image
from torch import Tensor

from anomalies import write_anomalies
from classes import TINY, ImageClass, read_classes
from evaluate import SUITES
from images import (
    HELD_OUT,
    TRAINING_FILES,
    ImageSet,
    is_held_out,
    read_images,
    split_images,
)

HELD_OUT_FILES = {
    "tiny_imagenet_train.parquet": "tiny_imagenet_val.parquet",
    "cifar10_train.parquet": "cifar10_test.parquet",
}


def encode(pixels: Tensor) -> bytes:
    """One image, uint8 (3, height, width), as PNG."""
    image = Image.fromarray(pixels.permute(1, 2, 0).numpy())
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()


def write_pairs(path: Path, images: ImageSet, classes: list[ImageClass]) -> int:
    """Write one Parquet file; returns the number of rows."""
    rows = []
    for index in torch.randperm(len(images.labels), generator=torch.Generator().manual_seed(0)):
        label = int(images.labels[index])
        image_class = classes[label]
        sizes = (images.pixels, images.small) if image_class.source == TINY else (images.small,)
        for pixels in sizes:
            rows.append(
                {
                    "image": {
                        "bytes": encode(pixels[index]),
                        "path": f"{index}-{pixels.shape[-1]}.png",
                    },
                    "label": label,
                    "name": image_class.name,
                    "synonyms": image_class.synonyms,
                }
            )
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=4096)
    return len(rows)


def write_held_out(data_dir: Path, out_dir: Path) -> None:
    """Split the training files in two, under the names of test and training sets.

    The images stay as they are in the files; a suite finds here what it finds in the data folder.
    """
    out_dir.mkdir(parents=True, exist_ok=True)
    tables = {file: pq.read_table(data_dir / file) for file, _ in TRAINING_FILES}
    labels = [
        torch.tensor(t["label"].to_numpy()) + first
        for t, (_, first) in zip(tables.values(), TRAINING_FILES, strict=True)
    ]
    held_out = is_held_out(torch.cat(labels), share=HELD_OUT, seed=0)
    parts = held_out.split([len(table) for table in tables.values()])
    for (file, table), part in zip(tables.items(), parts, strict=True):
        mask = pa.array(part.numpy())
        pq.write_table(table.filter(pc.invert(mask)), out_dir / file)
        pq.write_table(table.filter(mask), out_dir / HELD_OUT_FILES[file])


def main() -> None:
    """Write the pairs and the held-out sets."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--out-dir", type=Path, required=True)
    args = parser.parse_args()
    classes = read_classes(args.data_dir)
    training, _ = split_images(read_images(args.data_dir))
    print(write_pairs(args.out_dir / "training.parquet", training, classes), "pairs")
    write_held_out(args.data_dir, args.out_dir / "held_out")
    for name in SUITES:
        write_anomalies(name, args.out_dir / "held_out")


if __name__ == "__main__":
    main()
