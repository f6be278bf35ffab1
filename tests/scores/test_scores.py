"""Scores beside plain numpy, beside pytorch-ood, and beside each other."""

import warnings

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from clipn import scores

shapes = hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=30)
values = st.floats(-100, 100, width=32)


@st.composite
def logit_pairs(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Yes and no logits of one shape, (batch, classes)."""
    shape = draw(shapes)
    yes, no = (draw(hnp.arrays(np.float64, shape, elements=values)) for _ in range(2))
    return yes, no


def _softmax(x: np.ndarray) -> np.ndarray:
    powers = np.exp(x - x.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def _p_no(yes: np.ndarray, no: np.ndarray) -> np.ndarray:
    """exp(n) / (exp(l) + exp(n)), as the paper writes it."""
    top = np.maximum(yes, no)
    return np.exp(no - top) / (np.exp(yes - top) + np.exp(no - top))


def _ctw(yes: np.ndarray, no: np.ndarray) -> np.ndarray:
    return 1 - _p_no(yes, no)[np.arange(len(yes)), yes.argmax(axis=1)]


def _atd(yes: np.ndarray, no: np.ndarray) -> np.ndarray:
    return ((1 - _p_no(yes, no)) * _softmax(yes)).sum(axis=1)


def _energy(yes: np.ndarray) -> np.ndarray:
    top = yes.max(axis=1)
    return top + np.log(np.exp(yes - top[:, None]).sum(axis=1))


def _check(score: Tensor, expected: np.ndarray, *, tolerance: float = 1e-6) -> None:
    assert score.shape == expected.shape
    np.testing.assert_allclose(score.double().numpy(), expected, rtol=tolerance, atol=tolerance)


@settings(deadline=None)
@given(logit_pairs())
def test_scores_are_what_numpy_computes_from_their_definitions(pair: tuple[np.ndarray, np.ndarray]):
    yes, no = (torch.from_numpy(logits) for logits in pair)
    _check(scores.ctw(yes, no), _ctw(*pair))
    _check(scores.atd(yes, no), _atd(*pair))
    _check(scores.msp(yes), _softmax(pair[0]).max(axis=1))
    _check(scores.max_logit(yes), pair[0].max(axis=1))
    _check(scores.energy(yes), _energy(pair[0]))
    _check(scores.mcm(yes / 100), _softmax(pair[0] / 100).max(axis=1))


@settings(deadline=None)
@given(logit_pairs())
def test_single_precision_is_close_to_double(pair: tuple[np.ndarray, np.ndarray]):
    yes, no = (torch.from_numpy(logits).float() for logits in pair)
    _check(scores.ctw(yes, no), _ctw(*pair), tolerance=1e-4)
    _check(scores.atd(yes, no), _atd(*pair), tolerance=1e-4)
    _check(scores.energy(yes), _energy(pair[0]), tolerance=1e-4)
    assert scores.atd(yes, no).dtype == torch.float32


def test_baselines_are_those_of_pytorch_ood():
    """pytorch-ood scores the other way round: higher is more out-of-distribution."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the many libraries that it imports
        from pytorch_ood.detector import MCM, EnergyBased, MaxLogit, MaxSoftmax
    logits = 20 * torch.randn(50, 12, dtype=torch.float64)
    close = {"rtol": 1e-6, "atol": 1e-6}
    for ours, theirs in (
        (scores.msp, MaxSoftmax(None)),
        (scores.max_logit, MaxLogit(None)),
        (scores.energy, EnergyBased(None)),
    ):
        torch.testing.assert_close(ours(logits), -theirs.predict_logits(logits), **close)
    image, text = (torch.nn.functional.normalize(torch.randn(rows, 8), dim=1) for rows in (50, 12))
    for temperature in (1.0, 0.1):
        theirs = MCM(None, text, temperature=temperature).predict_features(image)
        ours = scores.mcm(image @ text.T, temperature=temperature)
        torch.testing.assert_close(ours, -theirs, **close)


@settings(deadline=None)
@given(hnp.arrays(np.float64, st.tuples(st.integers(1, 20), st.just(1)), elements=values))
def test_with_one_class_atd_is_ctw(yes: np.ndarray):
    logits = torch.from_numpy(yes)
    no = torch.linspace(-30, 30, len(yes), dtype=torch.float64)[:, None]
    torch.testing.assert_close(scores.atd(logits, no), scores.ctw(logits, no))


@settings(deadline=None)
@given(logit_pairs(), st.floats(-1000, 1000))
def test_a_shift_of_all_logits_moves_no_probability(
    pair: tuple[np.ndarray, np.ndarray], shift: float
):
    yes, no = (torch.from_numpy(logits) for logits in pair)
    close = {"rtol": 1e-8, "atol": 1e-10}
    torch.testing.assert_close(scores.msp(yes + shift), scores.msp(yes), **close)
    torch.testing.assert_close(scores.atd(yes + shift, no + shift), scores.atd(yes, no), **close)
    torch.testing.assert_close(scores.energy(yes + shift), scores.energy(yes) + shift, **close)
    torch.testing.assert_close(scores.max_logit(yes + shift), scores.max_logit(yes) + shift)


@settings(deadline=None)
@given(logit_pairs(), st.floats(0.01, 100))
def test_mcm_at_the_temperature_of_the_logits_is_msp(
    pair: tuple[np.ndarray, np.ndarray], tau: float
):
    cosines = torch.from_numpy(pair[0]) / 100
    torch.testing.assert_close(scores.mcm(cosines, temperature=1 / tau), scores.msp(tau * cosines))


@settings(deadline=None)
@given(logit_pairs())
def test_scores_lie_where_their_documentation_says(pair: tuple[np.ndarray, np.ndarray]):
    yes, no = (torch.from_numpy(logits) for logits in pair)
    classes = yes.shape[1]
    for score in (scores.msp(yes), scores.mcm(yes)):
        assert (score >= 1 / classes - 1e-12).all()
        assert (score <= 1 + 1e-12).all()
    for score in (scores.ctw(yes, no), scores.atd(yes, no)):
        assert (score >= 0).all()
        assert (score <= 1 + 1e-12).all()
    assert (scores.energy(yes) >= scores.max_logit(yes)).all()
    assert (scores.energy(yes) <= scores.max_logit(yes) + np.log(classes) + 1e-12).all()


@settings(deadline=None)
@given(logit_pairs(), st.randoms(use_true_random=False))
def test_the_order_of_the_classes_does_not_matter(pair: tuple[np.ndarray, np.ndarray], random):
    # Where two classes are equally likely, ctw takes the first of them.
    yes = torch.from_numpy(pair[0]) + 1e-3 * torch.arange(pair[0].shape[1])
    no = torch.from_numpy(pair[1])
    order = list(range(yes.shape[1]))
    random.shuffle(order)
    is_tied = (yes == yes.amax(dim=1, keepdim=True)).sum(dim=1) > 1
    both = scores.ctw(yes, no), scores.ctw(yes[:, order], no[:, order])
    torch.testing.assert_close(both[0][~is_tied], both[1][~is_tied])
    torch.testing.assert_close(
        scores.atd(yes, no), scores.atd(yes[:, order], no[:, order]), rtol=1e-9, atol=1e-12
    )


def test_a_louder_no_lowers_the_score_and_leaves_those_that_do_not_hear_it():
    yes, no = torch.randn(40, 6), torch.randn(40, 6)
    assert (scores.ctw(yes, no + 1) < scores.ctw(yes, no)).all()
    assert (scores.atd(yes, no + 1) < scores.atd(yes, no)).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [1e4, -1e4])
def test_extreme_logits_give_finite_scores(dtype: torch.dtype, size: float):
    yes = size * torch.tensor([[1, -1, 0], [1, 1, 1], [-1, -1, -1]], dtype=dtype)
    no = size * torch.tensor([[-1, 1, 0], [1, 1, 1], [1, -1, 0]], dtype=dtype)
    for score in (scores.ctw, scores.atd):
        assert score(yes, no).isfinite().all(), score.__name__
    for score in (scores.msp, scores.max_logit, scores.energy, scores.mcm):
        assert score(yes).isfinite().all(), score.__name__
    top = 0 if size > 0 else 1
    assert scores.ctw(yes, no)[0] == 1.0
    assert scores.msp(yes)[0] == 1.0
    assert scores.max_logit(yes)[0] == yes[0, top]
    assert scores.atd(yes, no)[1] == pytest.approx(0.5)


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_mcm_refuses_a_temperature_that_is_not_above_zero(temperature: float):
    with pytest.raises(ValueError, match=f"temperature must be above 0; got {temperature}"):
        scores.mcm(torch.zeros(1, 2), temperature=temperature)
