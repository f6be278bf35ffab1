"""The paper's two decision rules."""

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clipn.scores import atd, atd_refuses, ctw, ctw_refuses

# In steps of a quarter, so that no rounding decides where two sides are almost equal.
quarters = st.integers(-80, 80).map(lambda number: number / 4)


@st.composite
def logit_pairs(draw: st.DrawFn) -> tuple[torch.Tensor, torch.Tensor]:
    shape = draw(hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=20))
    yes, no = (draw(hnp.arrays(np.float64, shape, elements=quarters)) for _ in range(2))
    return torch.from_numpy(yes), torch.from_numpy(no)


@settings(deadline=None)
@given(logit_pairs())
def test_ctw_refuses_where_no_is_likelier_than_not(pair: tuple[torch.Tensor, torch.Tensor]):
    yes, no = pair
    rows = torch.arange(len(yes))
    best = torch.from_numpy(yes.numpy().argmax(axis=1))
    p_no = no.exp() / (yes.exp() + no.exp())
    assert torch.equal(ctw_refuses(yes, no), p_no[rows, best] > 0.5)
    assert torch.equal(ctw_refuses(yes, no), ctw(yes, no) < 0.5)


@settings(deadline=None)
@given(logit_pairs())
def test_atd_refuses_where_the_unknown_outweighs_every_class(
    pair: tuple[torch.Tensor, torch.Tensor],
):
    yes, no = (logits.numpy() for logits in pair)
    p = np.exp(yes) / np.exp(yes).sum(axis=1, keepdims=True)
    p_no = np.exp(no) / (np.exp(yes) + np.exp(no))
    known = (1 - p_no) * p
    margin = (1 - known.sum(axis=1)) - known.max(axis=1)
    clear = np.abs(margin) > 1e-9
    refused = atd_refuses(*pair).numpy()
    assert refused.dtype == bool
    np.testing.assert_array_equal(refused[clear], margin[clear] > 0)


def test_atd_refuses_many_equal_classes_that_ctw_accepts():
    """p_no = 0.3 leaves 0.7 of the mass, but no single class of ten outweighs the unknown 0.3."""
    yes = torch.zeros(1, 10)
    no = torch.full((1, 10), 0.3 / 0.7).log()
    assert atd(yes, no).item() == pytest.approx(0.7)
    assert atd_refuses(yes, no).item()
    assert not ctw_refuses(yes, no).item()
    assert not atd_refuses(yes[:, :2], no[:, :2]).item()  # 0.35 of each outweigh it


@settings(deadline=None)
@given(st.lists(st.tuples(quarters, quarters), min_size=1, max_size=30))
def test_with_one_class_both_rules_say_the_same(logits: list[tuple[float, float]]):
    yes, no = torch.tensor(logits, dtype=torch.float64)[:, None].unbind(dim=-1)
    assert torch.equal(atd_refuses(yes, no), ctw_refuses(yes, no))


def test_a_tie_between_yes_and_no_is_no_refusal():
    logits = torch.tensor([[3.0, 1.0]])
    assert not ctw_refuses(logits, logits).item()
    single = torch.tensor([[3.0]])
    assert not atd_refuses(single, single).item()


def test_ctw_listens_to_the_most_likely_class_only():
    yes = torch.tensor([[5.0, 4.0], [4.0, 5.0]])
    no = torch.tensor([[4.0, 9.0], [4.0, 9.0]])
    assert ctw_refuses(yes, no).tolist() == [False, True]


def test_rules_decide_extreme_logits():
    yes = torch.tensor([[1e4, 0.0], [0.0, 0.0], [-1e4, -1e4], [1e4, -1e4]])
    no = torch.tensor([[-1e4, 0.0], [1e4, 1e4], [-1e4, -2e4], [2e4, -2e4]])
    assert ctw_refuses(yes, no).tolist() == [False, True, False, True]
    assert atd_refuses(yes, no).tolist() == [False, True, False, True]
