"""The training images in memory, and the views of them that a step sees."""

import io
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

SIZE = 64  # every image is kept at this size; CIFAR-10's 32 px are enlarged once
NUM_TINY_CLASSES = 200
OPENAI_MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(3, 1, 1)
OPENAI_STD = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(3, 1, 1)


@dataclass(frozen=True, kw_only=True)
class ImageSet:
    """Images and their labels: `pixels` uint8 (images, 3, 64, 64), `labels` int64 (images,)."""

    pixels: Tensor
    labels: Tensor

    def select(self, rows: Tensor) -> "ImageSet":
        """The images of `rows`, in that order."""
        return ImageSet(pixels=self.pixels[rows], labels=self.labels[rows])


def read_images(data_dir: Path) -> ImageSet:
    """Decode both training files; CIFAR-10's labels follow Tiny-ImageNet's 200."""
    pixels, labels = [], []
    for file, first_label in (
        ("tiny_imagenet_train.parquet", 0),
        ("cifar10_train.parquet", NUM_TINY_CLASSES),
    ):
        table = pq.read_table(data_dir / file, columns=["image", "label"])
        for row in table.to_pylist():
            image = Image.open(io.BytesIO(row["image"]["bytes"])).convert("RGB")
            if image.size != (SIZE, SIZE):
                image = image.resize((SIZE, SIZE), Image.Resampling.BICUBIC)
            pixels.append(np.asarray(image))
            labels.append(first_label + row["label"])
    stacked = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).contiguous()
    return ImageSet(pixels=stacked, labels=torch.tensor(labels))


def split_images(images: ImageSet, *, held_out: float, seed: int) -> tuple[ImageSet, ImageSet]:
    """Set a share of every class aside; all choices are made on it and never on a test set."""
    generator = torch.Generator().manual_seed(seed)
    is_held_out = torch.zeros(len(images.labels), dtype=torch.bool)
    for label in images.labels.unique():
        rows = (images.labels == label).nonzero().squeeze(1)
        chosen = torch.randperm(len(rows), generator=generator)[: round(held_out * len(rows))]
        is_held_out[rows[chosen]] = True
    return images.select((~is_held_out).nonzero().squeeze(1)), images.select(
        is_held_out.nonzero().squeeze(1)
    )


def normalise(pixels: Tensor) -> Tensor:
    """CLIP's mean and deviation; `pixels` in [0, 1]."""
    return (pixels - OPENAI_MEAN) / OPENAI_STD


def blur_to_half(pixels: Tensor, chosen: Tensor) -> Tensor:
    """Bring the chosen images to 32 px and back: what CIFAR-10 looks like at 64 px."""
    small = F.interpolate(pixels[chosen], scale_factor=0.5, mode="bicubic", antialias=True)
    pixels = pixels.clone()
    pixels[chosen] = F.interpolate(small, size=pixels.shape[-2:], mode="bicubic").clamp(0, 1)
    return pixels


def augment(
    pixels: Tensor, *, size: int, generator: torch.Generator, min_scale: float = 0.25
) -> Tensor:
    """Draw a training view of each image: resolution, crop, flip, light and colour.

    Args:
        pixels: uint8 (batch, 3, 64, 64).
        size: Height and width of the views, at most 64.
        generator: Source of all draws.
        min_scale: Smallest share of the image's area that a crop keeps.

    Returns:
        Normalised float views, (batch, 3, size, size).
    """

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(len(pixels), generator=generator)

    images = pixels.float() / 255
    images = blur_to_half(images, uniform(0, 1) < 0.4)
    if size <= SIZE // 2:
        images = F.interpolate(images, scale_factor=0.5, mode="bilinear", antialias=True)
    # A random resized crop as an affine map: half-extents (width, height) and a centre that keeps
    # it inside.
    area, log_ratio = uniform(min_scale, 1), uniform(math.log(3 / 4), math.log(4 / 3))
    half_width = (area * log_ratio.exp()).sqrt().clamp(max=1)
    half_height = (area / log_ratio.exp()).sqrt().clamp(max=1)
    flip = torch.where(uniform(0, 1) < 0.5, -1.0, 1.0)
    theta = torch.zeros(len(pixels), 2, 3)
    theta[:, 0, 0], theta[:, 0, 2] = half_width * flip, (1 - half_width) * uniform(-1, 1)
    theta[:, 1, 1], theta[:, 1, 2] = half_height, (1 - half_height) * uniform(-1, 1)
    grid = F.affine_grid(theta, [len(pixels), 3, size, size], align_corners=False)
    views = F.grid_sample(
        images, grid, mode="bilinear", padding_mode="reflection", align_corners=False
    )
    contrast, brightness = (
        uniform(0.75, 1.25).view(-1, 1, 1, 1),
        uniform(-0.15, 0.15).view(-1, 1, 1, 1),
    )
    views = (views - 0.45) * contrast + 0.45 + brightness
    grey = views.mean(dim=1, keepdim=True)
    views = grey + (views - grey) * uniform(0.5, 1.3).view(-1, 1, 1, 1)
    return normalise(views)


def cut_mix(
    views: Tensor, *, probability: float, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Paste a rectangle of another image into some of the views.

    Source: Yun et al., "CutMix: Regularization Strategy to Train Strong Classifiers with
        Localizable Features", ICCV 2019.

    Args:
        views: (batch, 3, size, size).
        probability: Share of the views that get a rectangle.
        generator: Source of all draws.

    Returns:
        The views, the row (batch,) whose image each rectangle is from, and the share (batch,) of
        the area that stays.
    """
    num, size = len(views), views.shape[-1]
    other = torch.randperm(num, generator=generator)
    side = (1 - torch.rand(num, generator=generator)).sqrt() * size
    side = torch.where(torch.rand(num, generator=generator) < probability, side, 0.0)
    centre = torch.rand(2, num, 1, generator=generator) * size
    position = torch.arange(size) + 0.5
    rows, columns = ((position - c).abs() < side[:, None] / 2 for c in centre)
    is_pasted = rows[:, :, None] & columns[:, None, :]  # (batch, size, size)
    mixed = torch.where(is_pasted[:, None], views[other], views)
    return mixed, other, 1 - is_pasted.float().mean(dim=(1, 2))
