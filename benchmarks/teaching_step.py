"""One teaching step as published, and ours: same weights, same pairs, same loss.

    python benchmarks/teaching_step.py [--batch-size 16] [--repeats 3]

The published form pushes the images through the frozen image tower and the captions through the
frozen yes tower in every step, pads every caption to 77 tokens, and takes the losses from a softmax
over two N x N matrices. Ours reads the frozen towers' embeddings, cuts the captions to their length
and takes one product. Weights are random; ViT-B-16's shape; a step is forward, backward and AdamW.
"""

import argparse
import time
from collections.abc import Callable

import open_clip
import torch
from torch import Tensor

from clipn.losses import TSO_EPSILON, clipn_loss
from clipn.model import CLIPN, build_base

ARCHITECTURE = "ViT-B-16"
TAU = 100.0
CAPTION = "a photo of two dogs that run along the beach"  # 12 tokens with start and end


def published_loss(image: Tensor, yes: Tensor, no: Tensor) -> Tensor:
    """The losses by way of a softmax over yes and no."""
    pairs = torch.stack([TAU * image @ yes.T, TAU * image @ no.T], dim=-1)
    p_no = pairs.softmax(dim=-1)[..., 1]
    diagonal = torch.eye(len(image), dtype=torch.bool)
    own, others = p_no[diagonal], p_no[~diagonal]
    tso = (2 - (2 - 2 * (yes * no).sum(dim=-1) + TSO_EPSILON).sqrt()).mean()
    return 0.5 * (-(1 - own).log().mean() - others.log().mean() + tso)


def median_seconds(step: Callable[[], Tensor], repeats: int) -> tuple[float, float]:
    """Median time of a step after one to warm up, and the loss of that first one."""
    loss = step().item()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return sorted(times)[len(times) // 2], loss


def main() -> None:
    """Time both steps side by side and print their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    torch.manual_seed(0)
    model = CLIPN(build_base(open_clip.get_model_config(ARCHITECTURE), name=ARCHITECTURE))
    model.add_no_tower()
    assert model.no_tower is not None
    start = {name: tensor.clone() for name, tensor in model.no_tower.state_dict().items()}
    captions = [f"{CAPTION} {number}" for number in range(args.batch_size)]
    full = model.tokenizer(captions)
    cut = model.tokenize(captions)
    images = torch.randn(args.batch_size, 3, 224, 224)
    with torch.inference_mode():
        cached_image, cached_yes = model.encode_image(images), model.encode_text(cut)
    cached_image, cached_yes = cached_image.clone(), cached_yes.clone()

    def normalise(features: Tensor) -> Tensor:
        return torch.nn.functional.normalize(features, dim=-1)

    def published_step() -> Tensor:
        tower, pool = model.no_tower.text, model.no_tower.prompts
        with torch.no_grad():
            image, yes = model.encode_image(images), normalise(model.text(full))
        loss = published_loss(image, yes, normalise(tower(full, pool.mean(dim=0, keepdim=True))))
        return update(loss)

    def our_step() -> Tensor:
        return update(clipn_loss(cached_image, cached_yes, model.no_tower(cut), tau=TAU).total)

    def update(loss: Tensor) -> Tensor:
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return loss.detach()

    results = {}
    for name, step in (("published", published_step), ("ours", our_step)):
        model.no_tower.load_state_dict(start)
        optimizer = torch.optim.AdamW(model.no_tower.parameters(), lr=1e-5)
        results[name] = median_seconds(step, args.repeats)
    (published, published_value), (ours, our_value) = results["published"], results["ours"]
    print(
        f"{ARCHITECTURE}, {args.batch_size} pairs, captions of {cut.shape[1]} tokens, "
        f"{torch.get_num_threads()} threads, median of {args.repeats}\n"
        f"published step {published:.2f} s ({args.batch_size / published:.1f} pairs/s)\n"
        f"our step       {ours:.2f} s ({args.batch_size / ours:.1f} pairs/s)\n"
        f"ratio          {published / ours:.1f}\n"
        f"loss           {published_value:.6f} and {our_value:.6f}"
    )


if __name__ == "__main__":
    main()
