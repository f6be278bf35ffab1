"""The detector is one of pytorch-ood's, and its metrics take it."""

import warnings

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from clipn.adapters import PytorchOodDetector
from clipn.detector import Detector
from clipn.metrics import auroc
from clipn.model import CLIPN

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from pytorch_ood.api import Detector as Api
    from pytorch_ood.metrics import OODMetrics


@pytest.mark.parametrize("score", ["atd", "energy"])
def test_outlier_scores_are_the_scores_with_the_other_sign(learnable_model: CLIPN, score: str):
    detector = Detector(learnable_model, ["cat", "violin", "shoe"], score=score)
    adapted = PytorchOodDetector(detector)
    pixels = torch.randn(6, 3, 32, 32)
    with torch.inference_mode():
        embeddings = learnable_model.encode_image(pixels)
    expected = detector.judge()(embeddings, rule=None).scores[score]
    assert isinstance(adapted, Api)
    np.testing.assert_allclose(adapted(pixels).numpy(), -expected, rtol=1e-6)
    np.testing.assert_allclose(adapted.predict_features(embeddings).numpy(), -expected, rtol=1e-6)


def test_it_needs_no_fit_and_moves_with_its_model(learnable_model: CLIPN):
    adapted = PytorchOodDetector(Detector(learnable_model, ["cat"]))
    loader = DataLoader(TensorDataset(torch.randn(4, 3, 32, 32), torch.zeros(4)))
    assert adapted.fit(loader) is adapted
    assert adapted.to("meta").yes.device.type == "meta"


def test_pytorch_oods_metrics_agree_with_ours(learnable_model: CLIPN):
    adapted = PytorchOodDetector(Detector(learnable_model, ["cat", "violin"], score="max_logit"))
    labels = torch.tensor([0] * 12 + [-1] * 12)  # negative: out-of-distribution
    pixels = torch.randn(24, 3, 32, 32)
    metrics = OODMetrics()
    for rows, part in zip(pixels.split(5), labels.split(5), strict=True):
        metrics.update(adapted(rows), part)
    scores = -adapted(pixels).numpy()
    expected = auroc(scores[:12], scores[12:])
    assert metrics.compute()["AUROC"] == pytest.approx(expected, abs=1e-6)
