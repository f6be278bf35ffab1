"""Step 2 of the compact model, its pairs: the training images at every resolution they are seen at.

    python recipes/compact/make_pairs.py --data-dir ../shared/data --out-dir runs/compact-pairs

Writes `training.parquet` and `held_out.parquet` for `clipn train`: Tiny-ImageNet at 64 px, and
at 32 px too (else "no" could be learned from blur), CIFAR-10 at its own 32 px. What step
1 held out is held out here too.
"""

import argparse
import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from torch import Tensor

from classes import TINY, ImageClass, read_classes
from images import ImageSet, read_images, split_images


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


def main() -> None:
    """Write both files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--out-dir", type=Path, required=True)
    args = parser.parse_args()
    classes = read_classes(args.data_dir)
    training, held_out = split_images(read_images(args.data_dir), held_out=0.05, seed=0)
    for name, images in (("training", training), ("held_out", held_out)):
        num_rows = write_pairs(args.out_dir / f"{name}.parquet", images, classes)
        print(f"{name}: {num_rows} pairs")


if __name__ == "__main__":
    main()
