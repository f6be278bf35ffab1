"""After step 1: the text tower catches up with the image tower.

    python recipes/compact/align_text.py --data-dir ../shared/data \
        --checkpoint runs/compact-clip/last.pt --out runs/compact-clip/aligned.pt

At the end of step 1 the plain classifier beside the towers finds more in the image tower's features
than the captions do. Here the image tower stays as it is; the text tower and both projections go on
alone, which costs little, since the features of a few views of every image are computed once.

Before that, batch norm's averages, which are those of augmented views, are taken anew from whole
training images, as the model will see them.
"""

import argparse
import random
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from classes import CIFAR, TINY, ImageClass, read_classes, related_matrix
from images import SIZE, ImageSet, augment, normalise, read_images, split_images
from train_clip import build_clip, encode_captions, label_loss, lr_share, save, text_bank

BATCH = 500


@torch.no_grad()
def recount_batch_norm(visual: nn.Module, images: ImageSet, *, num_images: int = 12_800) -> None:
    """Replace batch norm's averages by those of unaugmented images, some of them at 32 px."""
    generator = torch.Generator().manual_seed(0)
    norms = [module for module in visual.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain average over the batches
        norm.train()
    for rows in torch.randperm(len(images.labels), generator=generator)[:num_images].split(320):
        visual(normalise(images.select(rows).mixed(generator)))
    visual.eval()


@torch.no_grad()
def embed_views(trunk: nn.Module, images: ImageSet, *, num_augmented: int) -> Tensor:
    """Features of one whole view and of some augmented ones; (views, images, features)."""
    generator = torch.Generator().manual_seed(1)
    views = []
    for view in range(1 + num_augmented):
        parts = []
        for rows in torch.arange(len(images.labels)).split(BATCH):
            part = images.select(rows)
            if view:
                batch = augment(part, size=SIZE, generator=generator)
            else:
                batch = normalise(part.mixed(generator))
            with torch.autocast("cpu", torch.bfloat16):
                parts.append(trunk(batch.contiguous(memory_format=torch.channels_last)).float())
        views.append(torch.cat(parts))
    return torch.stack(views)


@torch.inference_mode()
def held_out_accuracy(
    model: nn.Module,
    features: Tensor,
    labels: Tensor,
    classes: list[ImageClass],
    token_ids: Tensor,
) -> dict[str, float]:
    """Zero-shot top-1 accuracy within each source."""
    bank = text_bank(model, classes, token_ids)
    image_embeddings = F.normalize(model.visual.head(features), dim=-1)
    accuracies = {}
    for source in (TINY, CIFAR):
        columns = torch.tensor([i for i, c in enumerate(classes) if c.source == source])
        rows = torch.isin(labels, columns)
        answers = columns[(image_embeddings[rows] @ bank[columns].T).argmax(dim=1)]
        accuracies[source] = round((answers == labels[rows]).float().mean().item(), 4)
    return accuracies


def main() -> None:
    """Recount, embed, align, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--checkpoint", type=Path, default=Path("runs/compact-clip/last.pt"))
    parser.add_argument("--out", type=Path, default=Path("runs/compact-clip/aligned.pt"))
    parser.add_argument("--num-steps", type=int, default=800)
    parser.add_argument("--num-augmented", type=int, default=2, help="views beside the whole image")
    parser.add_argument("--batch-size", type=int, default=2048)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    classes = read_classes(args.data_dir)
    training, held_out = split_images(read_images(args.data_dir), held_out=0.05, seed=0)
    model, token_ids = build_clip(classes)
    model.load_state_dict(torch.load(args.checkpoint, weights_only=True)["model"])
    model = model.to(memory_format=torch.channels_last)
    recount_batch_norm(model.visual, training)
    features = embed_views(model.visual.trunk, training, num_augmented=args.num_augmented)
    held_out_features = embed_views(model.visual.trunk, held_out, num_augmented=0)[0]
    is_related = related_matrix(classes)

    def report(step: int) -> None:
        accuracies = held_out_accuracy(
            model, held_out_features, held_out.labels, classes, token_ids
        )
        print(step, accuracies, f"tau {model.logit_scale.exp().item():.2f}", flush=True)

    report(0)
    parameters = [p for name, p in model.named_parameters() if "trunk" not in name]
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for p in parameters if p.ndim > 1], "weight_decay": 0.1},
            {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
        ],
        betas=(0.9, 0.98),
    )
    words = random.Random(args.seed)
    for step in range(args.num_steps):
        for group in optimizer.param_groups:
            group["lr"] = args.lr * lr_share(step, args.num_steps)
        rows = torch.randint(len(training.labels), (args.batch_size,))
        views = torch.randint(len(features), (args.batch_size,))
        image_embeddings = F.normalize(model.visual.head(features[views, rows]), dim=-1)
        with torch.autocast("cpu", torch.bfloat16):
            captions = encode_captions(model, [c.caption(words) for c in classes], token_ids)
        logits = model.logit_scale.exp() * image_embeddings @ captions.T
        loss = label_loss(logits, training.labels[rows], is_related, smoothing=0.1).mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 5.0)
        optimizer.step()
        if (step + 1) % 100 == 0:
            report(step + 1)
    save(args.out, {"model": model.state_dict(), "token_ids": token_ids})


if __name__ == "__main__":
    main()
