"""The model that ships with the package, on real images."""

import io
import json
import logging
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from clipn.benchmarks import NativeForm
from clipn.detector import Detector
from clipn.metrics import auroc
from clipn.model import CLIPN
from clipn.model.weights import COMPACT_FOLDER

MAX_BYTES = 30e6
FIGURES = Path(__file__).parents[2] / "recipes" / "compact" / "figures.json"
CIFAR_NAMES = [
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
]


def read_rows(shared_dir: Path, file: str, count: int) -> list[dict]:
    """Rows spread evenly over a file of real images."""
    table = pq.read_table(shared_dir / "data" / file, columns=["image", "label"])
    return table.take(np.linspace(0, len(table) - 1, count).astype(int)).to_pylist()


def open_images(rows: list[dict], *, size: int) -> list[Image.Image]:
    images = [Image.open(io.BytesIO(row["image"]["bytes"])).convert("RGB") for row in rows]
    return [NativeForm(size=size, jpeg_quality=75).bring(image) for image in images]


def test_it_is_small_and_says_no(compact_model: CLIPN):
    size = sum(path.stat().st_size for path in COMPACT_FOLDER.iterdir() if path.is_file())
    assert size < MAX_BYTES
    assert compact_model.variant == "learnable"
    assert compact_model.reference == "compact"


def test_its_card_states_data_terms_and_what_it_is_for():
    card = (COMPACT_FOLDER / "README.md").read_text()
    for words in ("Tiny-ImageNet", "CIFAR-10", "terms", "demonstration model", "AUROC / FPR95"):
        assert words in card
    assert "FIGURES" not in card


def test_its_published_figures_are_those_of_these_weights(compact_model: CLIPN):
    figures = json.loads(FIGURES.read_text())
    assert figures["fingerprint"] == compact_model.fingerprint()


def test_it_names_cifar_images_that_it_has_never_seen(compact_model: CLIPN, shared_dir: Path):
    rows = read_rows(shared_dir, "cifar10_test.parquet", 400)
    with torch.inference_mode():
        embeddings = compact_model.encode_image(open_images(rows, size=32))
        answers = (embeddings @ compact_model.class_bank(CIFAR_NAMES).yes.T).argmax(dim=1)
    labels = np.array([row["label"] for row in rows])
    # 75 % is what makes it fit to ship; 400 images tell that with a deviation of 2 points.
    assert (answers.numpy() == labels).mean() > 0.71


@pytest.mark.parametrize("file", ["textures10.parquet", "scenes15.parquet"])
def test_no_sets_apart_what_softmax_does_not(compact_model: CLIPN, shared_dir: Path, file: str):
    inside = open_images(read_rows(shared_dir, "cifar10_test.parquet", 250), size=32)
    outside = open_images(read_rows(shared_dir, file, 250), size=32)
    values = {}
    for score in ("atd", "msp"):
        detector = Detector(compact_model, CIFAR_NAMES, score=score)
        values[score] = auroc(detector.score(inside), detector.score(outside))
    assert values["atd"] > values["msp"] + 0.02


def test_words_that_no_caption_had_are_warned_of(
    compact_model: CLIPN, caplog: pytest.LogCaptureFixture
):
    assert compact_model.unseen_words(["tabby cat", "espresso"]) == []
    assert compact_model.unseen_words(["submarine cat", "quokka"]) == ["submarine", "quokka"]
    with caplog.at_level(logging.WARNING):
        Detector(compact_model, ["cat", "quokka"])
    assert "has never read 'quokka'" in caplog.text
