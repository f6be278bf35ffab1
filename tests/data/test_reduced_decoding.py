"""Large JPEG files decoded at a fraction of their size, and how far answers move by it."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from drawings import colourful, encode
from PIL import Image

from clipn.data.images import min_side_of, read_image
from clipn.detector import Detector
from clipn.metrics import auroc
from clipn.model import CLIPN

SIZES = ((640, 480), (1024, 768), (1280, 960))
KNOWN = ("chelsea.png", "coffee.png")
UNKNOWN = ("astronaut.png", "rocket.jpg", "motorcycle_left.png", "grass.png")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    """Real photographs as JPEG files of several sizes, by the name of the original."""
    pytest.importorskip("skimage", reason="scikit-image brings the photographs")
    from clipn.cli.demo import find_pictures

    folder = tmp_path_factory.mktemp("photos")
    files: dict[str, list[Path]] = {}
    for source in find_pictures():
        if source.name in KNOWN + UNKNOWN:
            photograph = read_image(source)
            for size in SIZES:
                path = folder / f"{source.stem}-{size[0]}.jpg"
                photograph.resize(size, Image.Resampling.BICUBIC).save(path, quality=90)
                files.setdefault(source.name, []).append(path)
    return files


def test_embeddings_scores_and_auroc_stay_within_the_stated_bound(
    compact_model: CLIPN, photos: dict[str, list[Path]]
):
    paths = [path for files in photos.values() for path in files]
    min_side = min_side_of("reduced", size=64)
    images = [[read_image(path, min_side=side) for path in paths] for side in (None, min_side)]
    assert all(small.width < whole.width for whole, small in zip(*images, strict=True))
    with torch.inference_mode():
        exact, reduced = (compact_model.encode_image(some) for some in images)
    cosines = (exact * reduced).sum(dim=1)
    assert cosines.min() > 0.999
    assert not torch.equal(exact, reduced)
    scores = [
        Detector(compact_model, ["tabby cat", "espresso"], decoding=decoding).score(paths)
        for decoding in ("exact", "reduced")
    ]
    np.testing.assert_allclose(*scores, atol=0.05)
    is_known = np.array([name in KNOWN for name, files in photos.items() for _ in files])
    before, after = (auroc(one[is_known], one[~is_known]) for one in scores)
    assert before > 0.9
    assert abs(before - after) < 0.003


def photograph(width: int, height: int) -> Image.Image:
    """Smooth enough to survive JPEG, and different at every place."""
    return colourful(8, 6).resize((width, height), Image.Resampling.BICUBIC)


@pytest.mark.parametrize(
    ("size", "min_side", "expected"),
    [
        ((1600, 1200), 100, (200, 150)),
        ((1600, 1200), 150, (200, 150)),
        ((1600, 1200), 151, (400, 300)),
        ((1600, 1200), 601, (1600, 1200)),
        ((1600, 1200), None, (1600, 1200)),
        ((1604, 1200), 100, (401, 300)),  # 8 does not divide 1604
        ((1602, 1202), 100, (801, 601)),
        ((1601, 1200), 100, (1601, 1200)),
    ],
)
def test_a_jpeg_is_decoded_at_the_smallest_whole_size_that_is_allowed(size, min_side, expected):
    data = encode(photograph(*size), "JPEG", quality=90)
    assert read_image(data, min_side=min_side).size == expected


@pytest.mark.parametrize("options", [{"quality": 75}, {"subsampling": 0}, {"progressive": True}])
def test_a_jpeg_decoded_smaller_is_what_its_pixels_average_to(options):
    data = encode(photograph(640, 480), "JPEG", **options)
    small, whole = read_image(data, min_side=120), read_image(data)
    assert small.size == (160, 120)
    difference = np.asarray(small, dtype=int) - np.asarray(whole.reduce(4))
    assert np.abs(difference).mean() < 0.5


def test_a_photograph_on_its_side_is_decoded_smaller_and_turned_upright():
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = photograph(640, 320)
    data = encode(stored, "JPEG", exif=exif)
    read = read_image(data, min_side=80)
    assert read.size == (80, 160)
    expected = stored.reduce(4).transpose(Image.Transpose.ROTATE_270)
    assert np.abs(np.asarray(read, dtype=int) - np.asarray(expected)).mean() < 3


def test_grey_and_many_picture_jpegs_are_decoded_smaller(tmp_path):
    assert read_image(encode(photograph(64, 64).convert("L"), "JPEG"), min_side=16).size == (16, 16)
    path = tmp_path / "two.mpo"
    photograph(64, 64).save(path, "MPO", save_all=True, append_images=[photograph(32, 32)])
    assert read_image(path, min_side=16).size == (16, 16)


def test_other_formats_and_opened_images_are_never_decoded_smaller():
    for kind in ("PNG", "WEBP", "TIFF"):
        assert read_image(encode(photograph(64, 48), kind), min_side=6).size == (64, 48)
    opened = Image.open(io.BytesIO(encode(photograph(64, 48), "JPEG")))
    assert read_image(opened, min_side=6).size == opened.size == (64, 48)


@pytest.mark.parametrize("size", [64, [64, 64], (48, 64)])
def test_reduced_keeps_twice_the_longer_side_of_the_tower(size):
    assert min_side_of("reduced", size=size) == 128
    assert min_side_of("exact", size=size) is None
