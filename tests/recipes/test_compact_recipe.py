"""What the compact model's recipe relies on: images like the files', tables like the results."""

import importlib
import io
import json
from argparse import Namespace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from clipn.benchmarks import open_set
from clipn.data.images import read_image

RECIPE = Path(__file__).parents[2] / "recipes" / "compact"
BASE_AUROC = {"max_logit": 80.0, "energy": 82.0}


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(RECIPE)
    return importlib.import_module


@pytest.fixture
def images(load: Any) -> ModuleType:
    return load("images")


def photo(size: int) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3)).astype(np.uint8)
    return Image.fromarray(pixels).resize((size, size), Image.Resampling.BICUBIC)


def test_small_images_are_enlarged_as_the_model_will_see_them(images: ModuleType):
    """By PIL's kernel: another one would tell CIFAR-10's images from all others."""
    small = photo(32)
    pixels = torch.from_numpy(np.array(small)).permute(2, 0, 1)[None]
    expected = np.asarray(images.bring_to(small, 64), dtype=float)
    found = 255 * images.enlarge(pixels)[0].permute(1, 2, 0).double().numpy()
    assert np.abs(found - expected).max() <= 2
    other = F.interpolate(pixels.float(), size=(64, 64), mode="bicubic").clamp(0, 255)
    error = np.abs(found - expected).mean()
    assert error < 0.3  # PIL rounds between its two passes
    assert np.abs(other[0].permute(1, 2, 0).numpy() - expected).mean() > 3 * error


def test_only_what_is_made_smaller_is_compressed_again(images: ModuleType):
    small, large = photo(32), photo(64)
    assert images.compress(small, like=small) is small
    again = images.compress(images.bring_to(large, 32), like=large)
    assert again.size == (32, 32)
    assert again.tobytes() != images.bring_to(large, 32).tobytes()


def test_the_same_share_of_every_class_is_held_out(images: ModuleType):
    labels = torch.arange(4).repeat(40)
    held_out = images.is_held_out(labels, share=0.05, seed=0)
    assert labels[held_out].bincount().tolist() == [2, 2, 2, 2]
    assert torch.equal(held_out, images.is_held_out(labels, share=0.05, seed=0))
    assert not torch.equal(held_out, images.is_held_out(labels, share=0.05, seed=1))


def test_anomalies_show_what_their_names_say(load: Any):
    anomalies = load("anomalies")
    images = torch.rand(6, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    made = {
        kind.__name__: kind(images, torch.Generator().manual_seed(1)) for kind in anomalies.KINDS
    }
    for name, found in made.items():
        assert found.shape == images.shape, name
        assert found.min() >= 0, name
        assert found.max() <= 1, name
        assert not (found == images).flatten(1).all(dim=1).any(), name
    assert torch.equal(
        made["jigsaw"].flatten(2).sort(dim=2)[0], images.flatten(2).sort(dim=2)[0]
    )  # the same pixels
    patch = made["jigsaw"][0, :, :8, :8]
    assert any(
        torch.equal(patch, images[0, :, y : y + 8, x : x + 8])
        for y in range(0, 32, 8)
        for x in range(0, 32, 8)
    )
    pairs = 2 * made["arithmetic_mean"] - images
    assert all((pair - images).abs().flatten(1).amax(dim=1).min() < 1e-6 for pair in pairs)
    assert (made["geometric_mean"] <= made["arithmetic_mean"] + 1e-6).all()
    assert torch.equal(made["ghosted"][:, 1], images[:, 2])
    assert torch.allclose(made["inverted"][:, 2], 1 - images[:, 2])


def test_anomalies_are_written_as_sets_of_a_suite(load: Any, tmp_path: Path):
    anomalies = load("anomalies")
    buffer = io.BytesIO()
    photo(32).save(buffer, format="JPEG")
    row = {"image": {"bytes": buffer.getvalue(), "path": "a.jpg"}, "label": 3, "name": "cat"}
    pq.write_table(pa.Table.from_pylist([row] * 4), tmp_path / "cifar10_test.parquet")
    anomalies.write_anomalies("compact-cifar10", tmp_path)
    suite = anomalies.far_suite("compact-cifar10")
    assert [one.name for one in suite.ood_sets] == [kind.__name__ for kind in anomalies.KINDS]
    for one in suite.ood_sets:
        found = open_set(one, tmp_path, suite=suite)
        assert [read_image(image).size for image in found.images] == [(32, 32)] * 4


def figures_of(**auroc: float) -> dict[str, Any]:
    rules = {"ctw": [80.0, 50.0], "atd": [90.0, 40.0], "calibrated": [95.0, 30.0]}
    return {score: {"figures": [v, 100 - v], "rules": rules} for score, v in auroc.items()}


@pytest.fixture
def figures(load: Any) -> dict[str, Any]:
    study = load("study")

    def run(**auroc: float) -> dict[str, Any]:
        return dict.fromkeys(study.GROUPS, figures_of(**auroc))

    ways = {name: [run(ctw=70.0, atd=83.0)] for name in study.WAYS}
    ways["ranking"] = [run(ctw=70.0, atd=atd) for atd in (84.0, 86.0, 88.0)]
    everything = dict.fromkeys((*study.BASELINES, *study.OTHERS), 60.0)
    return {
        **ways,
        study.FROZEN: [run(**{**everything, **BASE_AUROC})],
        study.FROZEN_LOW: [run(**{**dict.fromkeys(study.TEMPERED, 50.0), "react": 82.5})],
        "trials": {
            "near": {"a trial": {score: [61.0, 39.0] for score in study.HELD_OUT_SCORES}},
            "far": {"a trial": {score: [51.0, 49.0] for score in study.HELD_OUT_SCORES}},
        },
    }


def test_the_study_tells_mean_spread_and_margin(load: Any, figures: dict[str, Any]):
    text = load("study").render(figures)
    assert "| atd, ranking | 86.00 ± 2.00 / 14.00 ± 2.00 |" in text
    assert "| energy | 82.00 / 18.00 |" in text
    assert "an AUROC of 82.50 (react at tau 8) and an FPR95 of 17.50 (react at tau 8)" in text
    assert "ATD taught by ranking has 86.00 / 14.00: a margin of +3.50 AUROC and -3.50" in text
    assert "| TSO | 70.00 / 30.00 |" in text
    near, far = text.index("| a trial | 61.00 / 39.00 |"), text.index("| a trial | 51.00 / 49.00 |")
    assert near < far
    assert "| atd, itbo, the paper's rule | 90.0 / 40.0 |" in text


def test_the_studys_document_waits_for_all_figures(load: Any, tmp_path: Path, capsys: Any):
    study = load("study")
    path = tmp_path / "figures.json"
    study.keep(path, "itbo", [1])
    study.keep(path, "trials", {})
    study.write_document(Namespace(figures=path))
    assert capsys.readouterr().out.startswith("Not yet measured: ranking, published, both")


def test_the_study_shows_the_figures_that_are_kept(load: Any):
    study = load("study")
    figures = json.loads(study.FIGURES.read_text())
    document = Path(__file__).parents[2] / study.DOCUMENT
    assert document.read_text() == study.render(figures)
