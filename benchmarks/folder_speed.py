"""A folder of photographs: how much of the image tower's own rate is left when files are read.

    python benchmarks/folder_speed.py [--model ViT-B-16] [--num-photos 2000] [--threads 2]

Cuts scikit-image's photographs at random and writes them as JPEG files of several sizes into a
temporary folder, then has `Detector.predict` answer for it, with random weights of the named shape.
The tower's own rate is that of the same batches, read beforehand. Both take turns, a part of the
folder each, so that the machine's other work falls on both. The share is given in time on the clock
and in processor time, which is what counts where every core is busy, and which other work hardly
adds to: the median over the parts, with its quartiles.

With `--model compact` it measures what reduced decoding does instead: how far cosines, pixels and
scores move, how often an answer changes, and what that does to AUROC.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import open_clip
import torch
from PIL import Image

from clipn.cli.demo import CLASS_NAMES, find_pictures
from clipn.data.image_batches import load_batches
from clipn.data.images import Decoding, min_side_of, read_image
from clipn.detector import Detector
from clipn.metrics import auroc
from clipn.model import CLIPN, build_base, load_model

SIDES = (480, 640, 800, 1024, 1280, 1920)  # of the shorter side, in pixels
ASPECTS = (1.0, 4 / 3, 3 / 2, 16 / 9)
QUALITIES = (75, 85, 92)
KNOWN = ("chelsea", "coffee")  # the photographs of which `CLASS_NAMES` names what they show


def write_photos(folder: Path, count: int, *, seed: int = 0) -> list[Path]:
    """Random cuts of photographs as JPEG files; sides are multiples of 16, as a camera's are."""
    generator = np.random.default_rng(seed)
    photographs = [(path.stem, read_image(path)) for path in find_pictures()]
    paths = []
    for number in range(count):
        name, photograph = photographs[generator.integers(len(photographs))]
        height = int(generator.choice(SIDES)) // 16 * 16
        width = int(height * generator.choice(ASPECTS)) // 16 * 16
        share = generator.uniform(0.5, 1.0)
        cut = share * min(photograph.width / width, photograph.height / height)
        left = generator.uniform(0, photograph.width - cut * width)
        top = generator.uniform(0, photograph.height - cut * height)
        box = (left, top, left + cut * width, top + cut * height)
        photo = photograph.resize((width, height), Image.Resampling.BICUBIC, box=box)
        paths.append(folder / f"{name}-{number:05d}.jpg")
        photo.save(paths[-1], quality=int(generator.choice(QUALITIES)))
    return paths


def build_detector(name: str) -> Detector:
    """Of random weights, or the compact model."""
    if name == "compact":
        return Detector(load_model(name), CLASS_NAMES)
    model = CLIPN(build_base(open_clip.get_model_config(name) or {}, name=name))
    model.add_no_tower()
    return Detector(model.eval(), CLASS_NAMES)


def read_clocks() -> np.ndarray:
    """Seconds on the clock, and seconds of processor time of this process."""
    return np.array([time.perf_counter(), time.process_time()])


def measure_parts(
    detector: Detector, paths: list[Path], decoding: Decoding, part: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Seconds an image, by both clocks: of the tower alone, and of files; for each part."""
    detector.decoding = decoding
    for first in range(0, len(paths), part):
        files = paths[first : first + part]
        batches = [
            batch.pixels
            for batch in load_batches(
                files,
                detector.preprocess,
                batch_size=detector.batch_size,
                min_side=min_side_of(decoding, size=detector.image_size),
            )
        ]
        start = read_clocks()
        with torch.inference_mode():
            for pixels in batches:
                assert pixels is not None
                detector.model.encode_image(pixels)
        tower = read_clocks() - start
        start = read_clocks()
        detector.predict(files)
        yield tower / len(files), (read_clocks() - start) / len(files)


def print_speed(detector: Detector, paths: list[Path], part: int) -> None:
    """The rate of files beside that of the tower, for both ways to decode."""
    detector.score(paths[: detector.batch_size])
    for decoding in ("exact", "reduced"):
        tower, files = np.moveaxis(
            np.array(list(measure_parts(detector, paths, decoding, part))), 1, 0
        )
        for clock, name in enumerate(("clock", "processor")):
            low, middle, high = 100 * np.quantile((tower / files)[:, clock], (0.25, 0.5, 0.75))
            alone, whole = (1e3 * np.median(part[:, clock]) for part in (tower, files))
            print(
                f"  {decoding:<7} {name:<9} tower {alone:6.1f} ms/image, files {whole:6.1f}: "
                f"{middle:5.1f} % of the tower's rate (quartiles {low:.1f} to {high:.1f} %)"
            )


def print_bounds(detector: Detector, paths: list[Path]) -> None:
    """What reduced decoding moves."""
    seen = {}
    for decoding in ("exact", "reduced"):
        min_side = min_side_of(decoding, size=detector.image_size)
        batches = load_batches(paths, detector.preprocess, batch_size=64, min_side=min_side)
        seen[decoding] = torch.cat([batch.pixels for batch in batches if batch.pixels is not None])
    with torch.inference_mode():
        exact, reduced = (detector.model.encode_image(pixels) for pixels in seen.values())
    cosines = (exact * reduced).sum(dim=1)
    std = torch.tensor(detector.model.source.preprocess["std"])[:, None, None]
    steps = 255 * ((seen["exact"] - seen["reduced"]) * std).abs().mean()
    print(f"  cosine of embeddings: least {cosines.min():.4f}, mean {cosines.mean():.5f}")
    print(f"  pixels move by {steps:.2f} of 255 on average")
    answers = {}
    for decoding in ("exact", "reduced"):
        detector.decoding = decoding
        answers[decoding] = detector.predict(paths)
    moved = np.abs(answers["exact"].scores - answers["reduced"].scores)
    is_known = np.array([path.stem.startswith(KNOWN) for path in paths])
    exact_auroc, reduced_auroc = (
        100 * auroc(one.scores[is_known], one.scores[~is_known]) for one in answers.values()
    )
    changed = sum(a.label != b.label for a, b in zip(*answers.values(), strict=True))
    print(f"  score {detector.score_name}: moves by {moved.mean():.4f}, at most {moved.max():.4f}")
    print(f"  other answers: {changed} of {len(paths)}")
    print(
        f"  AUROC of cats and coffee against the rest: {exact_auroc:.2f} and {reduced_auroc:.2f} %"
    )


def main() -> None:
    """Write the folder and measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="ViT-B-16")
    parser.add_argument("--num-photos", type=int, default=2000)
    parser.add_argument("--part", type=int, default=200, help="photos measured at once")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(arguments.threads)
    detector = build_detector(arguments.model)
    detector.batch_size = arguments.batch
    with tempfile.TemporaryDirectory() as folder:
        paths = write_photos(Path(folder), arguments.num_photos)
        megabytes = sum(path.stat().st_size for path in paths) / 1e6
        print(
            f"{arguments.model}: {len(paths)} photos of {megabytes:.0f} MB, batches of "
            f"{arguments.batch}, {arguments.threads} threads"
        )
        if arguments.model == "compact":
            print_bounds(detector, paths)
        else:
            print_speed(detector, paths, arguments.part)


if __name__ == "__main__":
    main()
