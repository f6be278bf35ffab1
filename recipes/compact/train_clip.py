"""Step 1 of the compact model: a small CLIP from scratch, on captions made from labelled images.

    python recipes/compact/train_clip.py --data-dir ../shared/data --out-dir runs/compact-clip

Every step draws one caption of every class and asks each image which of them is its own: the
label-aware form of the contrast, in which no two captions of one class are ever set against each
other. The images start small and grow, which saves more than half of the work; kept are the mean
weights over the last steps. Started again with the same `--out-dir`, it goes on after the last
finished epoch.
"""

import argparse
import json
import math
import os
import random
import time
from pathlib import Path

import open_clip
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import clipn.model.compact.tower  # noqa: F401  (registers the image tower with timm)
from classes import CIFAR, TINY, ImageClass, read_classes, related_matrix
from images import (
    NUM_TINY_CLASSES,
    ImageSet,
    augment,
    cut_mix,
    normalise,
    read_images,
    split_images,
)

ARCHITECTURE = Path(__file__).with_name("architecture.json")


def build_clip(classes: list[ImageClass]) -> tuple[nn.Module, Tensor]:
    """The untrained CLIP with an embedding row for each token of the captions only.

    Returns:
        The model, and the sorted ids of those tokens. Sorted, so that the end token stays the
        largest and open_clip's argmax pooling finds it.
    """
    architecture = json.loads(ARCHITECTURE.read_text())
    model = open_clip.model.CLIP(**architecture)
    generator = random.Random(0)
    captions = {c.caption(generator) for c in classes for _ in range(400)}
    tokens = open_clip.tokenizer.tokenize(sorted(captions))
    token_ids = tokens.unique()
    model.token_embedding = nn.Embedding(len(token_ids), architecture["text_cfg"]["width"])
    nn.init.normal_(model.token_embedding.weight, std=0.02)
    return model, token_ids


def encode_captions(model: nn.Module, captions: list[str], token_ids: Tensor) -> Tensor:
    """Embed captions in two groups, short and long; (captions, dim), L2-normalised."""
    tokens = open_clip.tokenizer.tokenize(captions)
    ends = tokens.argmax(dim=1)
    by_length = ends.argsort()
    embeddings = []
    for group in by_length.chunk(2):
        length = int(ends[group].max()) + 1
        rows = torch.searchsorted(token_ids, tokens[group, :length].contiguous())
        x = model.token_embedding(rows) + model.positional_embedding[:length]
        x = model.ln_final(model.transformer(x, attn_mask=model.attn_mask[:length, :length]))
        embeddings.append(x[torch.arange(len(group)), ends[group]] @ model.text_projection)
    return F.normalize(torch.cat(embeddings)[by_length.argsort()].float(), dim=-1)


def text_bank(model: nn.Module, classes: list[ImageClass], token_ids: Tensor) -> Tensor:
    """Every class's own name, averaged over three templates; (classes, dim), L2-normalised."""
    templates = ["a photo of a {}.", "a picture of a {}", "{}"]
    prompts = [
        encode_captions(model, [t.format(c.name) for c in classes], token_ids) for t in templates
    ]
    return F.normalize(torch.stack(prompts).mean(0), dim=-1)


def label_loss(logits: Tensor, labels: Tensor, is_related: Tensor, *, smoothing: float) -> Tensor:
    """Cross-entropy over all classes, without the kinds of the own class; (batch,).

    Args:
        logits: (batch, classes), times the temperature.
        labels: (batch,).
        is_related: (classes, classes), True where a class is no opposite of another.
        smoothing: Share of the target spread over the other classes.
    """
    left_out = is_related[labels]
    log_probabilities = F.log_softmax(logits.masked_fill(left_out, -1e4), dim=-1)
    hit = log_probabilities.gather(1, labels[:, None]).squeeze(1)
    spread = log_probabilities.masked_fill(left_out, 0.0).sum(dim=1) / (~left_out).sum(dim=1)
    return -((1 - smoothing) * hit + smoothing * spread)


@torch.inference_mode()
def zero_shot_accuracy(
    model: nn.Module, images: ImageSet, classes: list[ImageClass], token_ids: Tensor
) -> dict[str, float]:
    """Top-1 accuracy within each source; Tiny-ImageNet also from 32 px."""
    model.eval()
    bank = text_bank(model, classes, token_ids)
    bounds = {
        source: [i for i, c in enumerate(classes) if c.source == source] for source in (TINY, CIFAR)
    }
    accuracies = {}
    for key, source, is_small in (
        (TINY, TINY, False),
        (f"{TINY}_32px", TINY, True),
        (CIFAR, CIFAR, False),
    ):
        first, last = bounds[source][0], bounds[source][-1]
        chosen = images.select(
            ((images.labels >= first) & (images.labels <= last)).nonzero().squeeze(1)
        )
        num_hits = 0
        for rows in torch.arange(len(chosen.labels)).split(500):
            pixels = chosen.select(rows).at_32(torch.full((len(rows),), is_small))
            with torch.autocast("cpu", torch.bfloat16):
                embeddings = model.visual(
                    normalise(pixels).contiguous(memory_format=torch.channels_last)
                ).float()
            answers = (embeddings @ bank[first : last + 1].T).argmax(dim=1) + first
            num_hits += int((answers == chosen.labels[rows]).sum())
        accuracies[key] = round(num_hits / len(chosen.labels), 4)
    model.train()
    return accuracies


def build_optimizers(
    model: nn.Module, *, image_lr: float, text_lr: float
) -> list[torch.optim.Optimizer]:
    """Muon for the filters of the image tower, AdamW for everything else.

    Muon takes matrices: each filter bank is handed over as a view (out, height * width * in) of
    the same memory, whose gradient `share_gradients` sets. No decay on gains, biases and
    embeddings.
    """
    filters, groups = [], {}
    for name, parameter in model.named_parameters():
        if parameter.ndim == 4:
            matrix = nn.Parameter(parameter.data.permute(0, 2, 3, 1).flatten(1))
            assert matrix.data_ptr() == parameter.data_ptr(), f"{name} is not channels_last"
            filters.append(matrix)
            continue
        lr = image_lr if name.startswith("visual.") else text_lr
        decay = 0.0 if parameter.ndim < 2 or "embedding" in name else 0.1
        groups.setdefault((lr, decay), []).append(parameter)
    muon = torch.optim.Muon(
        [{"params": filters, "peak_lr": image_lr}],
        lr=image_lr,
        weight_decay=0.1,
        adjust_lr_fn="match_rms_adamw",
    )
    adamw = torch.optim.AdamW(
        [
            {"params": p, "lr": lr, "peak_lr": lr, "weight_decay": decay}
            for (lr, decay), p in groups.items()
        ],
        betas=(0.9, 0.98),
    )
    return [muon, adamw]


def share_gradients(model: nn.Module, muon: torch.optim.Optimizer) -> None:
    """Show Muon's matrices the gradients of the filters whose memory they share."""
    filters = [p for p in model.parameters() if p.ndim == 4]
    for matrix, parameter in zip(muon.param_groups[0]["params"], filters, strict=True):
        matrix.grad = parameter.grad.permute(0, 2, 3, 1).flatten(1)


def draw_epoch(images: ImageSet, *, num_small: int, generator: torch.Generator) -> Tensor:
    """A shuffled epoch: all of Tiny-ImageNet and `num_small` images of CIFAR-10, drawn anew."""
    is_small = images.labels >= NUM_TINY_CLASSES
    small = is_small.nonzero().squeeze(1)
    small = small[torch.randperm(len(small), generator=generator)[:num_small]]
    rows = torch.cat([(~is_small).nonzero().squeeze(1), small])
    return rows[torch.randperm(len(rows), generator=generator)]


def lr_share(step: int, num_steps: int, *, warm_up: float = 0.08) -> float:
    """Share of the peak learning rate: linear warm-up, then a cosine to zero."""
    progress = step / num_steps
    if progress < warm_up:
        return progress / warm_up
    return 0.5 * (1 + math.cos(math.pi * (progress - warm_up) / (1 - warm_up)))


def image_size(epoch: int, sizes: list[tuple[int, int]]) -> int:
    """The size of the phase that an epoch belongs to; `sizes` holds (size, number of epochs)."""
    for size, num_epochs in sizes:
        if epoch < num_epochs:
            return size
        epoch -= num_epochs
    return sizes[-1][0]


def save(path: Path, payload: dict[str, object]) -> None:
    """Write aside, then rename: a kill leaves the last checkpoint whole."""
    torch.save(payload, path.with_suffix(".tmp"))
    path.with_suffix(".tmp").replace(path)


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--out-dir", type=Path, required=True)
    parser.add_argument("--phases", default="48:24,64:10", help="size:epochs, in order")
    parser.add_argument("--start-from", type=Path, help="checkpoint whose weights to begin with")
    parser.add_argument("--cifar-images", type=int, default=12_000, help="drawn for every epoch")
    parser.add_argument("--cut-mix", type=float, default=0.5, help="share of images that get one")
    parser.add_argument("--batch-size", type=int, default=512)
    parser.add_argument("--image-lr", type=float, default=3e-3)
    parser.add_argument("--text-lr", type=float, default=2e-3)
    parser.add_argument("--averaging", type=float, default=0.998, help="decay of the mean weights")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--max-steps", type=int, help="stop early, for a trial")
    return parser.parse_args()


def main() -> None:
    """Train, evaluate on the held-out images after each epoch, keep a checkpoint."""
    args = parse_arguments()
    sizes = [
        (int(size), int(epochs))
        for size, epochs in (phase.split(":") for phase in args.phases.split(","))
    ]
    num_epochs = sum(epochs for _, epochs in sizes)
    args.out_dir.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(args.seed)
    classes = read_classes(args.data_dir)
    training, held_out = split_images(read_images(args.data_dir))
    model, token_ids = build_clip(classes)
    model = model.to(memory_format=torch.channels_last).train()
    classifier = nn.Linear(model.visual.trunk.num_features, len(classes))
    if args.start_from:
        state = torch.load(args.start_from, weights_only=True)
        model.load_state_dict(state["model"])
        classifier.load_state_dict(state.get("classifier", classifier.state_dict()))
    average = AveragedModel(
        model, multi_avg_fn=get_ema_multi_avg_fn(args.averaging), use_buffers=True
    )
    optimizers = build_optimizers(model, image_lr=args.image_lr, text_lr=args.text_lr)
    optimizers[1].add_param_group(
        {"params": list(classifier.parameters()), "lr": args.text_lr, "peak_lr": args.text_lr}
    )
    is_related = related_matrix(classes)
    num_tiny = int((training.labels < NUM_TINY_CLASSES).sum())
    steps_an_epoch = (num_tiny + args.cifar_images) // args.batch_size

    first_epoch, seconds, checkpoint = 0, 0.0, args.out_dir / "last.pt"
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(state["trained"])
        average.load_state_dict(state["average"])
        classifier.load_state_dict(state["classifier"])
        for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        first_epoch, seconds = state["epoch"], state["seconds"]

    for epoch in range(first_epoch, num_epochs):
        start, size = time.monotonic(), image_size(epoch, sizes)
        generator = torch.Generator().manual_seed(1000 * args.seed + epoch)
        words = random.Random(1000 * args.seed + epoch)
        order = draw_epoch(training, num_small=args.cifar_images, generator=generator)
        total, num_hits, num_seen = 0.0, 0, 0
        for step in range(steps_an_epoch):
            if args.max_steps and epoch * steps_an_epoch + step >= args.max_steps:
                return
            share = lr_share(epoch * steps_an_epoch + step, num_epochs * steps_an_epoch)
            for group in (g for o in optimizers for g in o.param_groups):
                group["lr"] = share * group["peak_lr"]
            rows = order[step * args.batch_size : (step + 1) * args.batch_size]
            views = augment(training.select(rows), size=size, generator=generator)
            views, other, share_kept = cut_mix(views, probability=args.cut_mix, generator=generator)
            labels = training.labels[rows]
            weights = ((labels, share_kept), (labels[other], 1 - share_kept))
            with torch.autocast("cpu", torch.bfloat16):
                features = model.visual.trunk(views.contiguous(memory_format=torch.channels_last))
                image_embeddings = model.visual.head(features).float()
                text_embeddings = encode_captions(
                    model, [c.caption(words) for c in classes], token_ids
                )
            logits = (
                model.logit_scale.exp() * F.normalize(image_embeddings, dim=-1) @ text_embeddings.T
            )
            loss = sum(
                (weight * label_loss(answers, target, is_related, smoothing=0.1)).mean()
                for answers in (logits, classifier(features.float()))
                for target, weight in weights
            )
            model.zero_grad(set_to_none=True)
            classifier.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            share_gradients(model, optimizers[0])
            for optimizer in optimizers:
                optimizer.step()
            with torch.no_grad():
                model.logit_scale.clamp_(max=math.log(100))
            average.update_parameters(model)
            average.module.attn_mask.copy_(model.attn_mask)  # minus infinity has no mean
            total += loss.item()
            num_hits += int((logits.argmax(dim=1) == labels).sum())
            num_seen += len(labels)
            if args.max_steps:
                print(step, round(loss.item(), 3), round(time.monotonic() - start, 1), flush=True)
        seconds += time.monotonic() - start
        record = {
            "epoch": epoch + 1,
            "size": size,
            "loss": round(total / steps_an_epoch, 4),
            "training_accuracy": round(num_hits / num_seen, 4),
            "tau": round(model.logit_scale.exp().item(), 2),
            "held_out": zero_shot_accuracy(average.module, held_out, classes, token_ids),
            "held_out_last": zero_shot_accuracy(model, held_out, classes, token_ids),
            "seconds": round(seconds),
            "num_cores": os.cpu_count(),
        }
        with (args.out_dir / "log.jsonl").open("a") as log:
            log.write(json.dumps(record) + "\n")
        save(
            checkpoint,
            {
                "epoch": epoch + 1,
                "seconds": seconds,
                "model": average.module.state_dict(),
                "trained": model.state_dict(),
                "average": average.state_dict(),
                "classifier": classifier.state_dict(),
                "optimizers": [optimizer.state_dict() for optimizer in optimizers],
                "token_ids": token_ids,
            },
        )


if __name__ == "__main__":
    main()
