"""Between the steps: the CLIP of step 1 as a model folder that `clipn train` can teach.

    python recipes/compact/export_base.py --data-dir ../shared/data --out-dir runs/compact-base

Batch norm's averages are those of augmented views; here they are taken anew from whole training
images, as the model will see them (+0.7 points on the held-out images of Tiny-ImageNet).
"""

import argparse
import json
from pathlib import Path

import torch
from torch import nn

from classes import TEMPLATES
from clipn.model import CLIPN, build_base, save_model
from images import ImageSet, blur_to_half, normalise, read_images, split_images

ARCHITECTURE = Path(__file__).with_name("architecture.json")


def read_clip(checkpoint: Path) -> CLIPN:
    """The plain CLIP of step 1; token rows that no caption touched are zero."""
    state = torch.load(checkpoint, weights_only=True)
    base = build_base(json.loads(ARCHITECTURE.read_text()), name="compact")
    weights, token_ids = state["model"], state["token_ids"]
    rows = torch.zeros_like(base.clip.token_embedding.weight)
    rows[token_ids] = weights["token_embedding.weight"]
    base.clip.load_state_dict({**weights, "token_embedding.weight": rows})
    model = CLIPN(base)
    model.known_tokens, model.templates = token_ids, tuple(TEMPLATES)
    return model


@torch.inference_mode()
def recount_batch_norm(model: CLIPN, images: ImageSet, *, num_images: int = 12_800) -> None:
    """Replace batch norm's averages by those of unaugmented images, some of them at 32 px."""
    generator = torch.Generator().manual_seed(0)
    norms = [module for module in model.visual.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain average over the batches
        norm.train()
    for rows in torch.randperm(len(images.labels), generator=generator)[:num_images].split(320):
        pixels = images.pixels[rows].float() / 255
        pixels = blur_to_half(pixels, torch.rand(len(rows), generator=generator) < 0.4)
        model.visual(normalise(pixels))
    model.eval()


def main() -> None:
    """Read the checkpoint, write the folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--checkpoint", type=Path, default=Path("runs/compact-clip/last.pt"))
    parser.add_argument("--out-dir", type=Path, required=True)
    args = parser.parse_args()
    model = read_clip(args.checkpoint)
    training, _ = split_images(read_images(args.data_dir), held_out=0.05, seed=0)
    recount_batch_norm(model, training)
    save_model(model, args.out_dir)
    print(f"{args.out_dir}: tau {model.tau:.2f}, {len(model.known_tokens)} known tokens")


if __name__ == "__main__":
    main()
