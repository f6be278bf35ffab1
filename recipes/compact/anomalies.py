"""Images that show nothing known, made of held-out images: far sets that choices may see.

The seven kinds are those that Hendrycks et al. validate on ("Deep Anomaly Detection with Outlier
Exposure", ICLR 2019, appendix A), so that no real set of outliers takes part in a choice.
"""

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from torch import Generator, Tensor

from clipn.benchmarks import Suite, get_suite, open_set
from clipn.benchmarks.layouts import ParquetFile
from clipn.data.images import read_image
from images import JPEG_QUALITY

PATCHES = 4  # of a jigsaw's side


def uniform_noise(images: Tensor, generator: Generator) -> Tensor:
    """Every pixel drawn anew."""
    return torch.rand(images.shape, generator=generator)


def arithmetic_mean(images: Tensor, generator: Generator) -> Tensor:
    """The mean of a random pair."""
    return (images + images[_others(images, generator)]) / 2


def geometric_mean(images: Tensor, generator: Generator) -> Tensor:
    """The geometric mean of a random pair."""
    return (images * images[_others(images, generator)]).sqrt()


def jigsaw(images: Tensor, generator: Generator) -> Tensor:
    """16 patches in another order."""
    num, channels, size, _ = images.shape
    side = size // PATCHES
    patches = images.unfold(2, side, side).unfold(3, side, side).flatten(2, 3)
    order = torch.rand(num, PATCHES**2, generator=generator).argsort(dim=1)
    patches = patches[torch.arange(num)[:, None], :, order]  # (num, 16, channels, side, side)
    rows = patches.view(num, PATCHES, PATCHES, channels, side, side).permute(0, 3, 1, 4, 2, 5)
    return rows.reshape(images.shape)


def speckle(images: Tensor, generator: Generator) -> Tensor:
    """Noise as strong as the light."""
    return (images + images * torch.randn(images.shape, generator=generator)).clamp(0, 1)


def ghosted(images: Tensor, generator: Generator) -> Tensor:
    """Colours exchanged, and one of them a quarter of the image aside."""
    red, green, blue = images.unbind(dim=1)
    return torch.stack([green.roll(images.shape[-1] // 4, dims=-1), blue, red], dim=1)


def inverted(images: Tensor, generator: Generator) -> Tensor:
    """Two of the three colours inverted."""
    red, green, blue = images.unbind(dim=1)
    return torch.stack([red, 1 - green, 1 - blue], dim=1)


KINDS = (uniform_noise, arithmetic_mean, geometric_mean, jigsaw, speckle, ghosted, inverted)


def far_suite(name: str) -> Suite:
    """A compact suite of held-out images with the seven kinds as its OOD sets."""
    suite = get_suite(name)
    far = tuple(
        replace(
            suite.ood_sets[0],
            name=kind.__name__,
            kind="far",
            layouts=(ParquetFile(file=_file_of(name, kind)),),
            num_images=None,
            classes=None,
            citation="Hendrycks et al., Deep Anomaly Detection with Outlier Exposure, ICLR 2019",
        )
        for kind in KINDS
    )
    return replace(suite, ood_sets=far, name=f"{name}-held-out-far")


def write_anomalies(suite_name: str, folder: Path) -> None:
    """Write all kinds for a suite whose held-out images are in the folder.

    They are made at the suite's native size and compressed there as all its images are.
    """
    suite = get_suite(suite_name)
    assert suite.native is not None
    held_out = open_set(suite.id_set, folder, suite=suite, counts="report")
    bring = suite.native.bring
    pixels = np.stack([np.asarray(bring(read_image(source))) for source in held_out.images])
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255
    for kind in KINDS:
        rows = [
            {
                "image": {"bytes": _encode(image), "path": f"{index}.jpg"},
                "label": 0,
                "name": kind.__name__,
            }
            for index, image in enumerate(kind(images, Generator().manual_seed(0)))
        ]
        pq.write_table(pa.Table.from_pylist(rows), folder / _file_of(suite_name, kind))


def _file_of(suite_name: str, kind: Callable[..., Tensor]) -> str:
    return f"{suite_name}-{kind.__name__}.parquet"


def _others(images: Tensor, generator: Generator) -> Tensor:
    """For every image another one, at random."""
    order = torch.randperm(len(images), generator=generator)
    others = torch.empty_like(order)
    others[order] = order.roll(1)
    return others


def _encode(image: Tensor) -> bytes:
    pixels = (255 * image).round().byte().permute(1, 2, 0).numpy()
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()
