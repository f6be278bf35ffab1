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


@settings(deadline=None)
@given(logit_pairs())
def test_atd_accepts_whatever_keeps_half_of_its_mass_in_one_class(
    pair: tuple[torch.Tensor, torch.Tensor],
):
    yes, no = pair
    mass = yes.softmax(dim=1) * (yes - no).sigmoid()
    assert not atd_refuses(yes, no)[mass.amax(dim=1) > 0.5 + 1e-9].any()
    assert atd_refuses(yes, no)[atd(yes, no) < 0.5 - 1e-9].all() or yes.shape[1] >= 1
    assert atd_refuses(yes, no)[mass.sum(dim=1) + mass.amax(dim=1) < 1 - 1e-9].all()


@settings(deadline=None)
@given(st.lists(st.tuples(quarters, quarters), min_size=1, max_size=30))
def test_with_one_class_both_rules_say_the_same(logits: list[tuple[float, float]]):
    yes, no = (torch.tensor(column, dtype=torch.float64)[:, None] for column in zip(*logits))
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


@pytest.mark.parametrize("size", [1e4, -1e4])
def test_rules_decide_extreme_logits(size: float):
    yes = torch.tensor([[size, 0.0], [0.0, 0.0]])
    no = torch.tensor([[-size, 0.0], [abs(size), abs(size)]])
    assert ctw_refuses(yes, no).tolist() == [False, True]
    assert atd_refuses(yes, no)[1].item()
    assert atd_refuses(yes, no)[0].item() == (size < 0)
