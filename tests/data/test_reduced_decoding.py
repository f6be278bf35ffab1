"""How far answers move when large JPEG files are decoded at a fraction of their size."""

from pathlib import Path

import numpy as np
import pytest
import torch
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
