"""From photographs to answers: clipn on every runtime, open_clip's loop, transformers' pipeline.

    python benchmarks/inference_speed.py [--models ViT-B-32 ViT-B-16] [--rounds 5] [--threads 2]

Random weights of the named shapes: what is measured is speed. Every way gets the same decoded
photographs and does its own preprocessing. In each round all of them run one after the other on one
batch; the table shows the fastest round of each, since the machine's other work only ever adds to
it, on the clock and in processor time (all threads together). The texts of open_clip's loop are
embedded beforehand; transformers' pipeline embeds them anew for every image, which is how it works.
"""

import argparse
import logging
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import open_clip
import torch
from PIL import Image
from transformers import (
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPTokenizer,
    ZeroShotImageClassificationPipeline,
)

from clipn.cli.demo import find_pictures
from clipn.data.images import read_image
from clipn.detector import Detector
from clipn.export.onnx_detector import OnnxDetector
from clipn.export.writing import export_detector
from clipn.model import CLIPN, build_base

Way = Callable[[list[Image.Image]], Any]
BASE = "clipn, torch"


def build_detector(name: str, class_names: Sequence[str]) -> Detector:
    """A detector of random weights; the no tower is a copy of the yes tower."""
    model = CLIPN(build_base(open_clip.get_model_config(name) or {}, name=name))
    model.add_no_tower()
    return Detector(model.eval(), class_names)


def exported_ways(
    detector: Detector, folder: Path, pictures: list[Image.Image], num_threads: int
) -> dict[str, Way]:
    """The detector as a file, in float32 and int8, on both runtimes."""
    ways: dict[str, Way] = {}
    for precision in ("float32", "int8"):
        path = folder / f"{precision}.onnx"
        export_detector(detector, path, precision=precision, calibration_images=pictures)
        print(f"  {precision} file: {path.stat().st_size / 1e6:.0f} MB")
        for runtime, title in (("onnx", "ONNX Runtime"), ("openvino", "OpenVINO")):
            exported = OnnxDetector(path, runtime=runtime, num_threads=num_threads)
            ways[f"clipn, {title}, {precision}"] = exported.predict
    return ways


def compiled_way(name: str, class_names: Sequence[str]) -> Way:
    """The detector on torch with its image tower compiled."""
    detector = build_detector(name, class_names)
    detector.model.visual.compile()
    return detector.predict


def open_clip_way(name: str, class_names: Sequence[str]) -> Way:
    """The loop of open_clip's documentation, batch by batch."""
    model, _, preprocess = open_clip.create_model_and_transforms(name)
    model.eval()
    with torch.no_grad():
        texts = open_clip.tokenize([f"a photo of a {one}." for one in class_names])
        classifier = model.encode_text(texts, normalize=True).T
    del model.transformer

    @torch.no_grad()
    def answer(pictures: list[Image.Image]) -> list[int]:
        pixels = torch.stack([preprocess(picture) for picture in pictures])
        features = model.encode_image(pixels, normalize=True)
        return (100 * features @ classifier).softmax(dim=-1).argmax(dim=-1).tolist()

    return answer


def transformers_way(name: str, class_names: Sequence[str]) -> Way:
    """The zero-shot pipeline of transformers, on a CLIP of the same shape."""
    config = open_clip.get_model_config(name) or {}
    vision: dict[str, Any] = config["vision_cfg"]
    shape = CLIPConfig(
        vision_config={"patch_size": vision["patch_size"], "image_size": vision["image_size"]},
        text_config={},
        projection_dim=config["embed_dim"],
    )
    bpe = open_clip.SimpleTokenizer()
    vocabulary = bpe.encoder | {
        "<|startoftext|>": bpe.sot_token_id,
        "<|endoftext|>": bpe.eot_token_id,
    }
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=list(bpe.bpe_ranks))
    pipeline = ZeroShotImageClassificationPipeline(
        model=CLIPModel(shape).eval(),
        tokenizer=tokenizer,
        image_processor=CLIPImageProcessor(),
        device="cpu",
    )
    return lambda pictures: pipeline(
        pictures, candidate_labels=list(class_names), batch_size=len(pictures)
    )


def measure(
    ways: dict[str, Way], pictures: list[Image.Image], rounds: int
) -> dict[str, np.ndarray]:
    """Milliseconds an image of each way's fastest round: on the clock, and of processor time."""
    for answer in ways.values():
        answer(pictures)
    seconds: dict[str, list[np.ndarray]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, answer in ways.items():
            start = read_clocks()
            answer(pictures)
            seconds[name].append(read_clocks() - start)
    return {name: 1e3 * np.min(values, axis=0) / len(pictures) for name, values in seconds.items()}


def read_clocks() -> np.ndarray:
    """Seconds on the clock, and seconds of processor time of this process."""
    return np.array([time.perf_counter(), time.process_time()])


def main() -> None:
    """Measure every shape and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["ViT-B-32", "ViT-B-16"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    torch.manual_seed(0)
    torch.set_num_threads(arguments.threads)
    photographs = [read_image(path) for path in find_pictures()]
    pictures = [photographs[row % len(photographs)] for row in range(arguments.batch)]
    class_names = [f"thing {number}" for number in range(arguments.classes)]
    for name in arguments.models:
        print(
            f"\n{name}: {arguments.threads} threads, batches of {arguments.batch}, "
            f"{arguments.classes} classes, fastest of {arguments.rounds} rounds"
        )
        with TemporaryDirectory() as folder:
            detector = build_detector(name, class_names)
            ways = {BASE: detector.predict, "clipn, torch.compile": compiled_way(name, class_names)}
            ways |= exported_ways(detector, Path(folder), pictures, arguments.threads)
            ways["open_clip's own loop"] = open_clip_way(name, class_names)
            ways["transformers' pipeline"] = transformers_way(name, class_names)
            print_table(measure(ways, pictures, arguments.rounds))


def print_table(milliseconds: dict[str, np.ndarray]) -> None:
    """A row a way: both times, and how many times as fast as clipn on torch."""
    print(f"  {'':<32} {'clock':>17} {'processor':>20}")
    for name, values in milliseconds.items():
        clock, processor = (
            f"{value:8.1f} ms {base / value:6.2f}x"
            for value, base in zip(values, milliseconds[BASE], strict=True)
        )
        print(f"  {name:<32} {clock}   {processor}")


if __name__ == "__main__":
    main()
