import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from clipn import scores
from clipn.judge import Judge
from clipn.model import ClassBank

TAU = 50.0
NAMES = ("atd", "ctw", "msp", "max_logit", "energy", "mcm")


@pytest.fixture
def bank() -> ClassBank:
    yes, no = F.normalize(torch.randn(2, 7, 16), dim=-1)
    return ClassBank(names=tuple("abcdefg"), templates=("{}",), yes=yes, no=no)


@pytest.fixture
def images() -> Tensor:
    return F.normalize(torch.randn(40, 16), dim=-1)


def test_scores_and_rules_are_the_functions_of_the_logits(bank: ClassBank, images: Tensor):
    judged = Judge(bank, tau=TAU, scores=NAMES)(images, rule="atd")
    yes, no = (TAU * (images.double() @ rows.double().T) for rows in (bank.yes, bank.no))
    for name in NAMES:
        arguments = {"atd": (yes, no), "ctw": (yes, no), "mcm": (yes / TAU,)}.get(name, (yes,))
        expected = getattr(scores, name)(*arguments).numpy()
        np.testing.assert_allclose(judged.scores[name], expected, rtol=1e-12)
    assert judged.refused.tolist() == scores.atd_refuses(yes, no).tolist()
    assert judged.best.tolist() == yes.argmax(dim=-1).tolist()


def test_float32_is_close_to_float64(bank: ClassBank, images: Tensor):
    exact = Judge(bank, tau=TAU, scores=NAMES)(images, rule="ctw", top_k=3)
    fast = Judge(bank, tau=TAU, scores=NAMES, precision="fast")(images, rule="ctw", top_k=3)
    for name in NAMES:
        np.testing.assert_allclose(fast.scores[name], exact.scores[name], rtol=1e-4, atol=1e-5)
    assert fast.top.tolist() == exact.top.tolist()
    assert fast.refused.tolist() == exact.refused.tolist()


def test_classes_are_ranked_with_both_logits(bank: ClassBank, images: Tensor):
    judged = Judge(bank, tau=TAU, scores=["msp"])(images, rule=None, top_k=100)
    assert judged.top.shape == (40, 7)
    assert judged.refused is None
    assert (np.diff(judged.top_yes, axis=1) <= 0).all()
    first = judged.top[:, 0]
    assert first.tolist() == judged.best.tolist()
    no = TAU * (images.double() * bank.no.double()[first]).sum(dim=-1)
    np.testing.assert_allclose(judged.top_no[:, 0], no.numpy(), rtol=1e-9)


def test_a_threshold_refuses_what_scores_below_it(bank: ClassBank, images: Tensor):
    judge = Judge(bank, tau=TAU, scores=["energy", "msp"])
    middle = float(np.median(judge(images, rule=None).scores["energy"]))
    judged = judge(images, rule="threshold", threshold=middle)
    assert judged.refused.tolist() == (judged.scores["energy"] < middle).tolist()
    assert judged.refused.sum() == 20
