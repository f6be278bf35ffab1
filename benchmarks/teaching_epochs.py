"""Ten epochs as published, and ours with the building of the cache: both are really run.

    python benchmarks/teaching_epochs.py [--pairs 48] [--epochs 10]

Both teach the same no tower of ViT-B-32's shape from the same JPEG files, in the same order, with
the same prompts and learning rates, and write a checkpoint at their end. The published form decodes
and embeds every image and caption in every epoch; ours is `clipn train`, run before and after it,
so that the machine's other work shows. Weights are random. After the first steps the losses may
differ by more than rounding: AdamW divides by gradients that are nearly zero.
"""

import argparse
import csv
import tempfile
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import open_clip
import torch
from PIL import Image
from plain.published import PublishedTeaching

from clipn.data.embedding_cache import EmbeddingCache
from clipn.model import CLIPN, build_base
from clipn.training import PairsConfig, TrainConfig, train
from clipn.training.batches import BatchPlan
from clipn.training.optim import learning_rate

ARCHITECTURE = "ViT-B-32"
WORDS = ("two", "dogs", "that", "run", "along", "a", "beach", "with", "their", "red", "ball")


def write_pairs(folder: Path, num_pairs: int) -> Path:
    """Images of 500 x 375 pixels with captions of 6 to 20 words, and their table."""
    generator = np.random.default_rng(0)
    with (folder / "pairs.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "caption"])
        for number in range(num_pairs):
            colours = generator.integers(0, 256, (12, 16, 3), dtype=np.uint8)
            image = Image.fromarray(colours).resize((500, 375), Image.Resampling.BICUBIC)
            image.save(folder / f"{number}.jpg", quality=90)
            words = [WORDS[(number + place) % len(WORDS)] for place in range(5 + number * 7 % 15)]
            writer.writerow([f"{number}.jpg", " ".join([*words, str(number)])])
    return folder / "pairs.csv"


def build_model() -> CLIPN:
    """The same random weights at every call."""
    torch.manual_seed(0)
    model = CLIPN(build_base(open_clip.get_model_config(ARCHITECTURE) or {}, name=ARCHITECTURE))
    model.add_no_tower()
    return model


def run_ours(config: TrainConfig, model: CLIPN) -> list[float]:
    """Teach as `clipn train` does; the losses of all steps."""
    losses: list[float] = []
    train(config, model=model, on_step=lambda record: losses.append(record.loss))
    return losses


def run_published(config: TrainConfig, model: CLIPN, folder: Path) -> list[float]:
    """Teach as published, with the batches and prompts of our run; the losses of all steps."""
    teaching = PublishedTeaching(model, ARCHITECTURE)
    optimizer = teaching.build_optimizer(lr=config.lr, eps=config.eps)
    cache = EmbeddingCache(config.embeddings_dir)  # for its tokens and draws alone
    plan = BatchPlan(
        cache=cache, batch_size=config.batch_size, num_prompts=16, seed=config.seed
    ).fit(num_ranks=1)
    num_steps, losses = config.epochs * plan.steps_an_epoch, []
    for step in range(num_steps):
        batch = plan.read(step)
        assert batch.prompt_ids is not None
        images = [Image.open(folder / f"{row}.jpg").convert("RGB") for row in batch.rows]
        pixels = torch.stack([model.preprocess(image) for image in images])
        tokens = torch.zeros(len(pixels), model.text.context_length, dtype=torch.long)
        tokens[:, : batch.pairs.tokens.shape[1]] = batch.pairs.tokens
        optimizer.param_groups[0]["lr"] = optimizer.param_groups[1]["lr"] = learning_rate(
            step, num_steps=num_steps, config=config
        )
        loss = teaching.losses(pixels, tokens, batch.prompt_ids[batch.text_of_pair])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    state = {"state_dict": teaching.state_dict(), "optimizer": optimizer.state_dict()}
    torch.save(state, folder / "published.pt")
    return losses


def main() -> None:
    """Run both and print how long they took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=48)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=24)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = TrainConfig(
            pairs=PairsConfig(source=str(write_pairs(folder, args.pairs))),
            model="",
            out_dir=folder / "run",
            epochs=args.epochs,
            batch_size=args.batch_size,
            cache_dtype="float32",
            log_every=1,
            accelerator="cpu",
        )
        again = replace(config, out_dir=folder / "again")
        times, losses = [], []
        for run in (
            partial(run_ours, config),
            partial(run_published, config, folder=folder),
            partial(run_ours, again),
        ):
            model = build_model()
            start = time.perf_counter()
            losses.append(run(model))
            times.append(time.perf_counter() - start)
    ours, published, repeated = losses
    assert ours == repeated
    differences = [abs(one - other) for one, other in zip(ours, published, strict=True)]
    print(
        f"{ARCHITECTURE}, {args.pairs} pairs, {args.epochs} epochs of "
        f"{len(ours) // args.epochs} steps, {torch.get_num_threads()} threads\n"
        f"  published {times[1]:.1f} s, ours with its cache {times[0]:.1f} and {times[2]:.1f} s: "
        f"{times[1] / times[0]:.1f} and {times[1] / times[2]:.1f} times as fast\n"
        f"  losses differ by {differences[0]:.0e} in the first step, {max(differences):.0e} at "
        f"most; the last are {published[-1]:.4f} and {ours[-1]:.4f}"
    )


if __name__ == "__main__":
    main()
