"""The losses beside the paper's own formulas in double precision, and their gradients."""

import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from clipn.losses import ClipnLoss, PairKeys, clipn_loss, itbo, match_pairs, tso


def _embeddings(batch: int, dim: int = 8, *, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Images, captions, "no" captions: double precision, length one."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(3, batch, dim, generator=generator, dtype=torch.float64)
    image, yes, no = F.normalize(rows, dim=-1)
    return image, yes, no


def _keys(*captions: int) -> PairKeys:
    """Pairs without a class."""
    return PairKeys(torch.tensor(captions), torch.full((len(captions),), -1))


def _reference(
    image: Tensor, yes: Tensor, no: Tensor, tau: float, keys: PairKeys | None = None
) -> tuple[float, float, float]:
    """A softmax over (yes, no) for every pair, its logarithm, and sums in plain Python."""
    matches = None if keys is None else match_pairs(keys, keys)
    diagonal, off_diagonal, distances = [], [], []
    for i in range(len(image)):
        for j in range(len(image)):
            logit_yes = tau * math.fsum((image[i] * yes[j]).tolist())
            logit_no = tau * math.fsum((image[i] * no[j]).tolist())
            p_no = math.exp(logit_no) / (math.exp(logit_yes) + math.exp(logit_no))
            if i == j:
                diagonal.append(-math.log(1 - p_no))
            elif matches is None or not matches[i, j]:
                off_diagonal.append(-math.log(p_no))
        cosine = math.fsum((yes[i] * no[i]).tolist())
        distances.append(2 - math.sqrt(2 - 2 * cosine + 1e-4))
    mean_off = sum(off_diagonal) / len(off_diagonal) if off_diagonal else 0.0
    return sum(diagonal) / len(diagonal), mean_off, sum(distances) / len(distances)


def _check(
    loss: ClipnLoss, expected: tuple[float, float, float], *, relative: float = 1e-9
) -> None:
    assert loss.itbo_diagonal.item() == pytest.approx(expected[0], rel=relative)
    assert loss.itbo_off_diagonal.item() == pytest.approx(expected[1], rel=relative)
    assert loss.tso.item() == pytest.approx(expected[2], rel=relative)
    assert loss.total.item() == pytest.approx(0.5 * sum(expected), rel=relative)


@pytest.mark.parametrize("tau", [1.0, 10.0, 14.2857])
@pytest.mark.parametrize("batch", [2, 3, 9])
def test_losses_are_those_of_the_paper(batch: int, tau: float):
    embeddings = _embeddings(batch)
    _check(clipn_loss(*embeddings, tau=tau), _reference(*embeddings, tau))
    _check(
        clipn_loss(*embeddings, tau=torch.tensor(tau, dtype=torch.float64)),
        _reference(*embeddings, tau),
    )


def test_single_precision_gives_the_same():
    embeddings = _embeddings(5)
    halves = [rows.float() for rows in embeddings]
    _check(clipn_loss(*halves, tau=10.0), _reference(*embeddings, 10.0), relative=1e-5)


def test_matching_pairs_are_left_out():
    embeddings = _embeddings(4)
    keys = PairKeys(torch.tensor([5, 6, 5, 7]), torch.tensor([-1, 3, -1, 3]))
    loss = clipn_loss(*embeddings, tau=10.0, keys=keys)
    _check(loss, _reference(*embeddings, 10.0, keys))
    unmasked = clipn_loss(*embeddings, tau=10.0)
    assert loss.itbo_off_diagonal != unmasked.itbo_off_diagonal
    assert loss.itbo_diagonal == unmasked.itbo_diagonal


def test_hardness_weighs_opposites_by_what_the_yes_tower_takes_them_for():
    image, yes, no = _embeddings(5)
    keys = _keys(1, 2, 3, 1, 4)
    matches = match_pairs(keys, keys)
    found = itbo(image, yes, no, tau=10.0, keys=keys, hardness=0.7).off_diagonal
    total = 0.0
    for i in range(5):
        opposites = [j for j in range(5) if not matches[i, j]]
        likeness = np.exp([7.0 * float(image[i] @ yes[j]) for j in opposites])
        terms = [float(F.softplus(-10 * image[i] @ (no[j] - yes[j]))) for j in opposites]
        total += float(likeness @ terms) / likeness.sum() / 5
    assert found.item() == pytest.approx(total, rel=1e-6)


def test_a_little_hardness_is_near_none():
    embeddings = _embeddings(6)
    plain = itbo(*embeddings, tau=10.0).off_diagonal
    nearly = itbo(*embeddings, tau=10.0, hardness=1e-7).off_diagonal
    torch.testing.assert_close(nearly, plain, rtol=1e-5, atol=0)


def test_with_hardness_a_pair_without_opposites_has_no_gradient():
    image, yes, no = _embeddings(3)
    # Only the first and the second have nothing in common: the third is opposite to none.
    keys = PairKeys(torch.tensor([1, 2, 1]), torch.tensor([-1, 5, 5]))
    image.requires_grad_()
    no.requires_grad_()
    itbo(image, yes, no, tau=10.0, keys=keys, hardness=1.0).off_diagonal.backward()
    for grad in (image.grad, no.grad):
        assert torch.isfinite(grad).all()
        assert (grad[:2].abs().sum(dim=1) > 0).all()
        assert grad[2].abs().sum() == 0


def test_the_total_is_of_the_chosen_parts():
    embeddings = _embeddings(4)
    both = clipn_loss(*embeddings, tau=10.0)
    itbo_only = clipn_loss(*embeddings, tau=10.0, parts=("itbo",))
    tso_only = clipn_loss(*embeddings, tau=10.0, parts=("tso",))
    torch.testing.assert_close(itbo_only.total + tso_only.total, both.total)
    torch.testing.assert_close(tso_only.total, 0.5 * both.tso)
    assert itbo_only.tso == both.tso


def test_pairs_that_share_nothing_are_all_opposite():
    embeddings = _embeddings(4)
    assert itbo(*embeddings, tau=10.0, keys=_keys(1, 2, 3, 4)) == itbo(*embeddings, tau=10.0)


@pytest.mark.parametrize("batch", [1, 3])
def test_without_an_opposite_pair_the_off_diagonal_is_zero(batch: int):
    image, yes, no = _embeddings(batch)
    no.requires_grad_()
    keys = None if batch == 1 else _keys(1, 1, 1)
    loss = clipn_loss(image, yes, no, tau=10.0, keys=keys)
    _check(loss, _reference(image, yes, no.detach(), 10.0, keys))
    assert loss.itbo_off_diagonal.item() == 0
    loss.total.backward()
    assert no.grad.isfinite().all()
    assert no.grad.any()


def test_a_pair_that_is_left_out_has_no_gradient():
    image, yes, no = _embeddings(2)
    no.requires_grad_()
    itbo(image, yes, no, tau=10.0, keys=_keys(1, 1)).off_diagonal.backward()
    assert not no.grad.any()


@pytest.mark.parametrize("captions", [None, (1, 2, 1)])
def test_gradients_are_those_of_finite_differences(captions: tuple[int, ...] | None):
    embeddings = [rows.requires_grad_() for rows in _embeddings(3, 5)]
    keys = None if captions is None else _keys(*captions)

    def total(image: Tensor, yes: Tensor, no: Tensor) -> Tensor:
        return clipn_loss(image, yes, no, tau=7.0, keys=keys).total

    assert torch.autograd.gradcheck(total, embeddings)
    assert torch.autograd.gradcheck(tso, embeddings[1:])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("tau", [1e3, 1e6, 1e30])
def test_a_huge_temperature_makes_nothing_nan(tau: float, dtype: torch.dtype):
    """Softmax-then-log gives inf here, and NaN on the way back."""
    image, yes, no = (rows.to(dtype) for rows in _embeddings(4))
    no.requires_grad_()
    loss = clipn_loss(image, yes, no, tau=tau)
    assert all(term.isfinite() for term in loss)
    loss.total.backward()
    assert no.grad.isfinite().all()


def test_at_the_start_where_no_is_yes_the_gradient_is_finite_and_moves():
    image, yes, _ = (rows.float() for rows in _embeddings(6))
    no = yes.clone().requires_grad_()
    loss = clipn_loss(image, yes, no, tau=100.0)
    assert loss.itbo_diagonal.item() == pytest.approx(math.log(2))
    assert loss.itbo_off_diagonal.item() == pytest.approx(math.log(2))
    assert loss.tso.item() == pytest.approx(2 - math.sqrt(1e-4), abs=1e-4)
    loss.total.backward()
    assert no.grad.isfinite().all()
    assert (no.grad.abs().amax(dim=1) > 0).all()


def test_the_right_no_has_a_lower_loss_than_the_wrong_one():
    """Away from its own image and towards all others."""
    image = torch.eye(4)
    right = F.normalize(torch.ones(4, 4) - 2 * torch.eye(4), dim=1)
    loss = clipn_loss(image, image, right, tau=100.0)
    assert loss.itbo_diagonal.item() < 1e-6
    assert loss.itbo_off_diagonal.item() < 1e-6
    wrong = clipn_loss(image, image, image.roll(1, dims=0), tau=100.0)
    assert wrong.total > loss.total


def test_tso_goes_from_opposite_to_equal():
    yes = torch.eye(3, dtype=torch.float64)
    assert tso(yes, -yes).item() == pytest.approx(2 - math.sqrt(4 + 1e-4))
    assert tso(yes, yes.roll(1, dims=0)).item() == pytest.approx(2 - math.sqrt(2 + 1e-4))
    assert tso(yes, yes).item() == pytest.approx(1.99)


def test_the_order_of_the_pairs_does_not_matter():
    image, yes, no = _embeddings(6)
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    loss = clipn_loss(image, yes, no, tau=10.0)
    shuffled = clipn_loss(image[order], yes[order], no[order], tau=10.0)
    torch.testing.assert_close(tuple(shuffled), tuple(loss))


@pytest.mark.parametrize("loss", [clipn_loss, itbo])
def test_an_empty_batch_is_refused(loss: Any):
    empty = torch.zeros(0, 8)
    with pytest.raises(ValueError, match="at least one pair; got an empty batch"):
        loss(empty, empty, empty, tau=10.0)
    with pytest.raises(ValueError, match="tso needs at least one pair"):
        tso(empty, empty)


def test_embeddings_of_different_batches_are_refused():
    image, yes, no = _embeddings(3)
    with pytest.raises(TypeError, match="batch"):
        clipn_loss(image[:2], yes, no, tau=10.0)
