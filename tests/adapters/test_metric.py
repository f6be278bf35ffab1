"""Metrics of torchmetrics' kind: those of clipn, batch by batch and over ranks."""

import json
from pathlib import Path

import metric_of_ranks
import pytest
import torch
from ranks import run_ranks
from torchmetrics import MetricCollection
from torchmetrics.classification import BinaryAUROC

from clipn.adapters import Auroc, FprAtTpr
from clipn.metrics import auroc, fpr_at_tpr


@pytest.fixture
def scores() -> torch.Tensor:
    return torch.randn(60, generator=torch.Generator().manual_seed(0)).round(decimals=1)


@pytest.fixture
def is_id() -> torch.Tensor:
    return torch.arange(60) % 3 > 0


def test_figures_do_not_depend_on_the_batches(scores: torch.Tensor, is_id: torch.Tensor):
    metrics = MetricCollection(
        {"auroc": Auroc(), "id": FprAtTpr(), "ood": FprAtTpr(tpr=0.9, positive="ood")}
    )
    for part, flags in zip(scores.split(7), is_id.split(7), strict=True):
        metrics.update(part, flags)
    inside, outside = scores[is_id].double().numpy(), scores[~is_id].double().numpy()
    found = {name: value.item() for name, value in metrics.compute().items()}
    assert found == {
        "auroc": auroc(inside, outside),
        "id": fpr_at_tpr(inside, outside),
        "ood": fpr_at_tpr(inside, outside, tpr=0.9, positive="ood"),
    }


def test_auroc_is_that_of_torchmetrics_within_0_and_1_and_right_outside(
    scores: torch.Tensor, is_id: torch.Tensor
):
    within = scores.sigmoid()
    theirs, ours = BinaryAUROC()(within, is_id.int()).item(), Auroc()(within, is_id).item()
    assert ours == pytest.approx(theirs, abs=1e-6)
    # What theirs squashes until many are equal, ours leave as it is.
    assert Auroc()(100 * scores + 50, is_id).item() == Auroc()(scores, is_id).item()


def test_a_reset_metric_is_empty_and_says_so(scores: torch.Tensor, is_id: torch.Tensor):
    metric = Auroc()
    metric.update(scores, is_id)
    metric.reset()
    metric.update(scores[is_id], is_id[is_id])
    with pytest.raises(ValueError, match="ood_scores must hold at least one score"):
        metric.compute()
    with pytest.raises(ValueError, match="one value an image"):
        metric.update(scores, is_id[:3])


def test_two_ranks_give_the_figures_of_one(tmp_path: Path):
    run_ranks(metric_of_ranks.main, tmp_path, num_ranks=2)
    reports = [json.loads(path.read_text()) for path in sorted(tmp_path.glob("rank-*.json"))]
    assert reports == [metric_of_ranks.figures(slice(None))] * 2
