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

SIZE = 64  # of the images that the tower sees; CIFAR-10's 32 px are enlarged
JPEG_QUALITY = 75  # of both training files
NUM_TINY_CLASSES = 200
HELD_OUT = 0.05  # of every class
TRAINING_FILES = (("tiny_imagenet_train.parquet", 0), ("cifar10_train.parquet", NUM_TINY_CLASSES))
OPENAI_MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(3, 1, 1)
OPENAI_STD = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(3, 1, 1)


@dataclass(frozen=True, kw_only=True)
class ImageSet:
    """Images at two resolutions, and their labels.

    Attributes:
        pixels: uint8 (images, 3, 64, 64).
        small: uint8 (images, 3, 32, 32).
        labels: int64 (images,).
    """

    pixels: Tensor
    small: Tensor
    labels: Tensor

    def select(self, rows: Tensor) -> "ImageSet":
        """The images of `rows`, in that order."""
        return ImageSet(pixels=self.pixels[rows], small=self.small[rows], labels=self.labels[rows])

    def at_32(self, chosen: Tensor) -> Tensor:
        """The images in [0, 1], the chosen ones enlarged from 32 px; (images, 3, 64, 64)."""
        images = self.pixels.float() / 255
        images[chosen] = enlarge(self.small[chosen])
        return images

    def mixed(self, generator: torch.Generator) -> Tensor:
        """The images in [0, 1], four in ten of them enlarged from 32 px; (images, 3, 64, 64)."""
        return self.at_32(torch.rand(len(self.labels), generator=generator) < 0.4)


def enlarge(small: Tensor) -> Tensor:
    """Bring images of 32 px to 64 as PIL does; uint8 in, [0, 1] out.

    With `antialias` torch takes PIL's bicubic kernel, upwards too; without it another one, by
    which a network could tell CIFAR-10's images from all others.
    """
    large = F.interpolate(small.float(), size=(SIZE, SIZE), mode="bicubic", antialias=True)
    return large.round().clamp(0, 255) / 255


def read_images(data_dir: Path) -> ImageSet:
    """Decode both training files; CIFAR-10's labels follow Tiny-ImageNet's 200.

    The files hold JPEG, CIFAR-10's at 32 px. Whatever is brought to 32 px is compressed there in
    the same way: else the traces of compression alone tell the two sources apart.
    """
    pixels, small, labels = [], [], []
    for file, first_label in TRAINING_FILES:
        table = pq.read_table(data_dir / file, columns=["image", "label"])
        for row in table.to_pylist():
            image = Image.open(io.BytesIO(row["image"]["bytes"])).convert("RGB")
            pixels.append(np.asarray(bring_to(image, SIZE)))
            small.append(np.asarray(compress(bring_to(image, SIZE // 2), like=image)))
            labels.append(first_label + row["label"])
    return ImageSet(pixels=_stack(pixels), small=_stack(small), labels=torch.tensor(labels))


def bring_to(image: Image.Image, size: int) -> Image.Image:
    """The image at a square size."""
    return image.resize((size, size), Image.Resampling.BICUBIC)


def compress(image: Image.Image, *, like: Image.Image) -> Image.Image:
    """The image through JPEG, unless its size is still that of the file's image."""
    if image.size == like.size:
        return image
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=JPEG_QUALITY)
    return Image.open(buffer).convert("RGB")


def _stack(images: list[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()


def is_held_out(labels: Tensor, *, share: float, seed: int) -> Tensor:
    """Set a share of every class aside; all choices are made on it and never on a test set."""
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.zeros(len(labels), dtype=torch.bool)
    for label in labels.unique():
        rows = (labels == label).nonzero().squeeze(1)
        order = torch.randperm(len(rows), generator=generator)
        chosen[rows[order[: round(share * len(rows))]]] = True
    return chosen


def split_images(images: ImageSet) -> tuple[ImageSet, ImageSet]:
    """The images that are trained on, and those that are held out."""
    held_out = is_held_out(images.labels, share=HELD_OUT, seed=0)
    return images.select((~held_out).nonzero().squeeze(1)), images.select(
        held_out.nonzero().squeeze(1)
    )


def normalise(pixels: Tensor) -> Tensor:
    """CLIP's mean and deviation; `pixels` in [0, 1]."""
    return (pixels - OPENAI_MEAN) / OPENAI_STD


def augment(
    images: ImageSet, *, size: int, generator: torch.Generator, min_scale: float = 0.25
) -> Tensor:
    """Draw a training view of each image: resolution, crop, flip, light and colour.

    Args:
        images: What to show.
        size: Height and width of the views, at most 64.
        generator: Source of all draws.
        min_scale: Smallest share of the image's area that a crop keeps.

    Returns:
        Normalised float views, (batch, 3, size, size).
    """

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(num, generator=generator)

    pixels, num = images.mixed(generator), len(images.labels)
    if size <= SIZE // 2:
        pixels = F.interpolate(pixels, scale_factor=0.5, mode="bilinear", antialias=True)
    # A random resized crop as an affine map: half-extents (width, height) and a centre that keeps
    # it inside.
    area, log_ratio = uniform(min_scale, 1), uniform(math.log(3 / 4), math.log(4 / 3))
    half_width = (area * log_ratio.exp()).sqrt().clamp(max=1)
    half_height = (area / log_ratio.exp()).sqrt().clamp(max=1)
    flip = torch.where(uniform(0, 1) < 0.5, -1.0, 1.0)
    theta = torch.zeros(num, 2, 3)
    theta[:, 0, 0], theta[:, 0, 2] = half_width * flip, (1 - half_width) * uniform(-1, 1)
    theta[:, 1, 1], theta[:, 1, 2] = half_height, (1 - half_height) * uniform(-1, 1)
    grid = F.affine_grid(theta, [num, 3, size, size], align_corners=False)
    views = F.grid_sample(
        pixels, grid, mode="bilinear", padding_mode="reflection", align_corners=False
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
