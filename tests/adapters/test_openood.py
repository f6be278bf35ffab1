"""The postprocessor does what OpenOOD's evaluator asks of one."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from clipn.adapters.openood import OpenOodNet, OpenOodPostprocessor
from clipn.detector import Detector
from clipn.model import CLIPN


class Pictures(Dataset):
    """Items as OpenOOD's data sets have them."""

    def __len__(self) -> int:
        return 10

    def __getitem__(self, row: int) -> dict:
        generator = torch.Generator().manual_seed(row)
        return {"data": torch.randn(3, 32, 32, generator=generator), "label": row % 3}


@pytest.fixture
def detector(learnable_model: CLIPN) -> Detector:
    return Detector(learnable_model, ["cat", "violin", "shoe"], score="atd")


@pytest.fixture
def loader() -> DataLoader:
    return DataLoader(Pictures(), batch_size=4)


def test_inference_gives_classes_scores_and_labels(detector: Detector, loader: DataLoader):
    net, postprocessor = OpenOodNet(detector), OpenOodPostprocessor(detector)
    postprocessor.setup(net, {"train": loader}, {"val": loader})
    best, scores, labels = postprocessor.inference(net, loader, progress=False)
    pixels = torch.stack([Pictures()[row]["data"] for row in range(10)])
    with torch.inference_mode():
        expected = detector.judge()(detector.model.encode_image(pixels), rule=None)
        assert net(pixels).argmax(dim=1).tolist() == best.tolist()
    np.testing.assert_allclose(scores, expected.scores["atd"], rtol=1e-5)
    assert best.tolist() == expected.best.tolist()
    assert labels.tolist() == [row % 3 for row in range(10)]
    assert best.dtype.kind == labels.dtype.kind == "i"


def test_postprocess_gives_tensors_of_a_batch(detector: Detector):
    pixels = torch.randn(2, 3, 32, 32)
    best, scores = OpenOodPostprocessor(detector).postprocess(OpenOodNet(detector), pixels)
    assert best.shape == scores.shape == (2,)


def test_a_search_goes_through_the_scores(detector: Detector, loader: DataLoader):
    """As the evaluator does it: every value of each list, then the best one."""
    postprocessor = OpenOodPostprocessor(detector, search=True)
    assert postprocessor.APS_mode
    assert not postprocessor.hyperparam_search_done
    [names] = postprocessor.args_dict.values()
    assert {"atd", "ctw", "msp", "energy"} <= set(names)
    found = {}
    for name in names:
        postprocessor.set_hyperparam([name])
        found[name] = postprocessor.inference(OpenOodNet(detector), loader, progress=False)[1]
        assert postprocessor.get_hyperparam() == [name]
    assert len({tuple(scores) for scores in found.values()}) == len(names)
    assert not OpenOodPostprocessor(detector).APS_mode


def test_a_plain_clip_has_only_scores_that_need_no_no(plain_model: CLIPN):
    detector = Detector(plain_model, ["cat", "shoe"], score="msp")
    postprocessor = OpenOodPostprocessor(detector)
    assert "atd" not in postprocessor.args_dict["score"]
    empty = postprocessor.inference(OpenOodNet(detector), [], progress=False)
    assert [part.shape for part in empty] == [(0,)] * 3
