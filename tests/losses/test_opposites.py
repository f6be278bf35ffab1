"""The sum over all opposites, block by block, beside the same sum over one dense matrix."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from clipn.losses import PairKeys, match_pairs, opposites
from clipn.losses.opposites import Opposites, sum_over_opposites

TAU = 100.0


def embeddings(
    num_images: int, num_captions: int, *, dtype: torch.dtype = torch.float64, dim: int = 16
) -> tuple[Tensor, Tensor, Tensor]:
    """Images, captions, and the directions from the captions to their "no"."""
    rows = torch.randn(num_images + 2 * num_captions, dim, dtype=torch.float64)
    image, yes, no = F.normalize(rows, dim=-1).to(dtype).split((num_images, *[num_captions] * 2))
    return image, yes, no - yes


def dense(image: Tensor, direction: Tensor, how: Opposites) -> tuple[Tensor, Tensor]:
    """The definition, with matrices of all pairs."""
    logits = how.tau * image @ direction.T
    own = torch.arange(len(image)) + how.first
    is_opposite = torch.arange(len(direction)) != own[:, None]
    if how.own_keys is not None and how.all_keys is not None:
        is_opposite &= ~match_pairs(how.own_keys, how.all_keys)
    if not how.hardness:
        return -F.logsigmoid(logits)[is_opposite].sum(), is_opposite.sum()
    assert how.yes is not None
    likeness = how.hardness * how.tau * image.detach() @ how.yes.T
    weights = likeness.masked_fill(~is_opposite, -1e9).softmax(dim=1) * is_opposite
    return -(weights * F.logsigmoid(logits)).sum(), is_opposite.any(dim=1).sum()


def some_keys(num: int) -> PairKeys:
    """Some captions and some classes occur several times."""
    return PairKeys(torch.randint(num // 2, (num,)), torch.randint(-1, num // 4, (num,)))


@pytest.mark.parametrize("block_size", [1, 100, 1 << 22])
@pytest.mark.parametrize("hardness", [0.0, 0.6])
@pytest.mark.parametrize("has_keys", [False, True])
@pytest.mark.parametrize(("first", "num_images"), [(0, 37), (12, 11)])
def test_sum_count_and_gradients_are_those_of_the_dense_form(
    block_size: int,
    hardness: float,
    has_keys: bool,
    first: int,
    num_images: int,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(opposites, "BLOCK_SIZE", block_size)
    image, yes, direction = embeddings(num_images, 37)
    keys = some_keys(37) if has_keys else None
    how = Opposites(
        tau=TAU,
        first=first,
        own_keys=keys and keys.part(slice(first, first + num_images)),
        all_keys=keys,
        hardness=hardness,
        yes=yes,
    )
    outcomes, gradients = [], []
    for function in (sum_over_opposites, dense):
        inputs = [rows.clone().requires_grad_() for rows in (image, direction)]
        total, count = function(*inputs, how)
        outcomes.append((total, count))
        gradients.append(torch.autograd.grad(3 * total, inputs))
    torch.testing.assert_close(*outcomes)
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("hardness", [0.0, 1.0])
def test_in_single_precision_gradients_are_those_of_double_precision(hardness: float):
    image, yes, direction = embeddings(600, 600, dim=64)
    keys = some_keys(600)
    gradients = []
    for function, dtype in (
        (dense, torch.float64),
        (sum_over_opposites, torch.float32),
        (dense, torch.float32),
    ):
        how = Opposites(tau=TAU, own_keys=keys, all_keys=keys, hardness=hardness, yes=yes.to(dtype))
        inputs = [rows.detach().to(dtype).requires_grad_() for rows in (image, direction)]
        gradients.append(torch.autograd.grad(function(*inputs, how)[0], inputs))
    for exact, *singles in zip(*gradients, strict=True):
        for single in singles:
            # The weights that hardness gives are rounded before they get here.
            error = (single - exact).abs().max() / exact.abs().max()
            assert error < (1e-5 if hardness else 1e-6)


def test_no_matrix_of_all_pairs_is_kept_or_made(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(opposites, "BLOCK_SIZE", 2000)
    image, _, direction = embeddings(1000, 1000, dtype=torch.float32)
    largest = 0

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            nonlocal largest
            outcome = func(*args, **(kwargs or {}))
            if isinstance(outcome, Tensor):
                largest = max(largest, outcome.numel())
            return outcome

    with Watch():
        direction.requires_grad_()
        total, _ = sum_over_opposites(image, direction, Opposites(tau=TAU))
        total.backward()
    assert direction.grad is not None
    assert largest == direction.numel()


@pytest.mark.parametrize("is_asked_for", [(True, False), (False, True), (False, False)])
def test_a_gradient_is_made_only_where_it_is_asked_for(is_asked_for: tuple[bool, bool]):
    image, _, direction = embeddings(5, 5)
    inputs = [
        rows.clone().requires_grad_(is_it)
        for rows, is_it in zip((image, direction), is_asked_for, strict=True)
    ]
    total, count = sum_over_opposites(*inputs, Opposites(tau=TAU))
    assert not count.requires_grad
    assert total.requires_grad is any(is_asked_for)
    if total.requires_grad:
        total.backward()
    assert [rows.grad is not None for rows in inputs] == list(is_asked_for)
