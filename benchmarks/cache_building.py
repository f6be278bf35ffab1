"""Building the embedding cache against the towers' own speed, over the same images and captions.

    python benchmarks/cache_building.py [--model ViT-B-32] [--num-images 256] [--repeats 3]

The towers' own speed is that of their forward passes over pixels and tokens that are ready in
memory. The cache has to read a tar, decode JPEG files of 256 to 512 pixels (crops of real
photographs), resize and normalise them, tokenise captions of 3 to 25 words, and write float16.
Beside it the plain way: an image is decoded when its batch comes up, and every caption is padded to
77 tokens. Weights are random. The ways are timed in turn; ratios are of the same round. CPU time
says how much work there is besides the towers', also where others use the machine (set
OMP_WAIT_POLICY=passive then, or threads that wait are counted as work).
"""

import argparse
import io
import tarfile
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import open_clip
import torch
from PIL import Image
from skimage import data

from clipn.data.cache_shards import BuildSettings, embed_shard
from clipn.data.images import read_image
from clipn.data.pairs import Pair, Shard, open_pairs
from clipn.model import CLIPN, build_base

PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket")
WORDS = ("a", "dog", "runs", "along", "the", "beach", "under", "an", "old", "bridge", "today")


def write_tar(path: Path, num_images: int) -> Path:
    """Write real photographs, cropped at random, with captions of about a web caption's length."""
    generator = np.random.default_rng(0)
    photographs = [Image.fromarray(getattr(data, name)()) for name in PHOTOGRAPHS]
    with tarfile.open(path, "w") as archive:
        for number in range(num_images):
            photograph = photographs[number % len(photographs)]
            width, height = generator.integers(256, 513, size=2)
            left, top = (int(generator.integers(100)) for _ in range(2))
            crop = photograph.crop((left, top, left + 300, top + 300)).resize((width, height))
            buffer = io.BytesIO()
            crop.save(buffer, "JPEG", quality=90)
            length = int(np.clip(generator.normal(10, 4), 3, 25))
            caption = " ".join(generator.choice(WORDS, length))
            for suffix, content in (("jpg", buffer.getvalue()), ("txt", caption.encode())):
                header = tarfile.TarInfo(f"{number:06d}.{suffix}")
                header.size = len(content)
                archive.addfile(header, io.BytesIO(content))
    return path


def seconds(work: Callable[[], None]) -> tuple[float, float]:
    """How long something takes, by the clock and in CPU time of all threads."""
    start, cpu_start = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - start, time.process_time() - cpu_start


class Ways:
    """The same pairs, embedded in three ways."""

    def __init__(self, model: CLIPN, shard: Shard, settings: BuildSettings, folder: Path) -> None:
        self.model, self.shard, self.settings, self.folder = model, shard, settings, folder
        pairs = [pair for pair in shard.read() if isinstance(pair, Pair)]
        self.pixels = [
            torch.stack([model.preprocess(read_image(pair.image)) for pair in part])
            for part in self.batches(pairs)
        ]
        captions = sorted((pair.captions[0] for pair in pairs), key=lambda text: len(text.split()))
        self.tokens = [model.tokenize(part) for part in self.batches(captions)]

    def batches(self, rows: list) -> list[list]:
        """The rows in the batches of the towers."""
        size = self.settings.batch_size
        return [rows[start : start + size] for start in range(0, len(rows), size)]

    @torch.inference_mode()
    def run_image_tower(self) -> None:
        """The image tower alone."""
        for pixels in self.pixels:
            self.model.encode_image(pixels)

    @torch.inference_mode()
    def run_text_tower(self) -> None:
        """The yes tower alone."""
        for tokens in self.tokens:
            self.model.encode_text(tokens)

    def build(self) -> None:
        """The cache's shard."""
        embed_shard(self.shard, 0, self.model, self.folder / "000000", self.settings)

    @torch.inference_mode()
    def build_plainly(self) -> None:
        """Read, decode, encode, one after the other; captions padded to the context."""
        pairs = [pair for pair in self.shard.read() if isinstance(pair, Pair)]
        for part in self.batches(pairs):
            images = [self.model.preprocess(read_image(pair.image)) for pair in part]
            self.model.encode_image(torch.stack(images))
            tokens = self.model.tokenizer([pair.captions[0] for pair in part])
            self.model.text.embed_padded(tokens)


def main() -> None:
    """Time the ways in turn and print their rates."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="ViT-B-32")
    parser.add_argument("--num-images", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--num-workers", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=BuildSettings.batch_size)
    args = parser.parse_args()
    torch.manual_seed(0)
    model = CLIPN(build_base(open_clip.get_model_config(args.model), name=args.model))
    settings = BuildSettings(transform=model.preprocess, num_workers=args.num_workers)
    settings = replace(settings, batch_size=args.batch_size)
    with tempfile.TemporaryDirectory() as name:
        [shard] = open_pairs(write_tar(Path(name) / "pairs.tar", args.num_images))
        ways = Ways(model, shard, settings, Path(name))
        works = (ways.run_image_tower, ways.run_text_tower, ways.build, ways.build_plainly)
        ways.build()  # to warm up
        # (rounds, ways, clock and CPU time)
        rounds = np.array([[seconds(work) for work in works] for _ in range(args.repeats)])
    image, text, built, plain = args.num_images / np.median(rounds[:, :, 0], axis=0)
    towers = rounds[:, 0] + rounds[:, 1]
    print(
        f"{args.model}, {args.num_images} pairs in batches of {args.batch_size}, "
        f"{torch.get_num_threads()} threads, {args.num_workers} workers, "
        f"median of {args.repeats}\n"
        f"image tower alone  {image:7.1f} images/s\n"
        f"yes tower alone    {text:7.1f} captions/s\n"
        f"both towers        {args.num_images / np.median(towers[:, 0]):7.1f} pairs/s\n"
        f"cache              {built:7.1f} pairs/s, {share(towers / rounds[:, 2])}\n"
        f"the plain way      {plain:7.1f} pairs/s, {share(towers / rounds[:, 3])}"
    )


def share(ratios: np.ndarray) -> str:
    """The medians of ratios to the towers' speed, and their ranges."""
    by_clock, by_cpu = (
        f"{np.median(column):.0%} ({column.min():.0%} to {column.max():.0%})" for column in ratios.T
    )
    return f"{by_clock} of the towers by the clock, {by_cpu} in CPU time"


if __name__ == "__main__":
    main()
