"""What the compact model's recipe relies on: images like the files', tables like the results."""

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from clipn.benchmarks import Result, get_suites

RECIPE = Path(__file__).parents[2] / "recipes" / "compact"
BASE_AUROC = {"max_logit": 0.80, "energy": 0.82}


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


def result(suite: str, score: str, *, auroc: float, fpr95: float) -> Result:
    figures = {"auroc": auroc, "fpr95": fpr95}
    rule = {"id_kept": 0.9, "refused": {"set": 0.4}}
    return Result(
        suite=suite,
        score=score,
        score_options={},
        model="m",
        model_fingerprint="f",
        package_version="0",
        date="2026-01-01",
        convention="",
        templates=[],
        class_names=[],
        tau=1.0,
        words=None,
        data={},
        id_accuracy=0.5,
        sets={"set": figures},
        averages={"all": figures},
        rules={score: rule, "calibrated": rule},
        scores_file="",
    )


def test_the_study_tells_mean_spread_and_margin(load: Any):
    study = load("study")
    suites = [s.name for name in (*study.SUITES, "pacs-open") for s in get_suites(name)]
    seeds = []
    for seed, atd in enumerate((0.81, 0.83, 0.85)):
        scores = study.ALL_SCORES if seed == 0 else study.NO_SCORES
        values = {**dict.fromkeys(scores, 0.6), **BASE_AUROC, "ctw": 0.7, "atd": atd}
        seeds.append(
            [result(s, n, auroc=values[n], fpr95=1 - values[n]) for s in suites for n in scores]
        )
    text = study.render(
        {"chosen": seeds, "tso": seeds[1:2]},
        {"a trial": {score: [61.0, 39.0] for score in study.HELD_OUT_SCORES}},
    )
    assert "| atd | 83.00 ± 2.00 / 17.00 ± 2.00 |" in text
    assert "| energy | 82.00 / 18.00 |" in text
    assert "a margin of +1.00 AUROC and -1.00 FPR95" in text
    assert "| TSO only, lr 1e-3 | 70.00 / 30.00 |" in text
    assert "| a trial | 61.00 / 39.00 |" in text
    assert "| atd, the paper's rule | 90.0 / 40.0 |" in text
