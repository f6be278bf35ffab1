"""Scores that compare classes with negative words."""

import re

import numpy as np
import pytest
import torch
from torch import Tensor

from clipn.scores import ImageBatch, Task, csp, get_score, neg_label
from clipn.scores.negatives import group_words


@pytest.fixture
def yes() -> Tensor:
    return 5 * torch.randn(30, 4, dtype=torch.float64)


@pytest.fixture
def negative() -> Tensor:
    return 5 * torch.randn(30, 23, dtype=torch.float64)


def numpy_neg_label(yes: Tensor, negative: Tensor, groups: Tensor) -> np.ndarray:
    """The definition, group by group."""
    inside = np.exp(yes.numpy()).sum(axis=1)
    outside = np.exp(negative.numpy())
    shares = [inside / (inside + outside[:, group].sum(axis=1)) for group in groups.numpy()]
    return np.mean(shares, axis=0)


@pytest.mark.parametrize("groups", [1, 4, 23])
def test_neg_label_is_what_numpy_computes(yes: Tensor, negative: Tensor, groups: int):
    index = group_words(23, groups=groups, seed=5)
    values = neg_label(yes, negative, groups=groups, seed=5)
    np.testing.assert_allclose(values.numpy(), numpy_neg_label(yes, negative, index), rtol=1e-9)


def test_a_temperature_divides_the_logits(yes: Tensor, negative: Tensor):
    values = neg_label(yes, negative, groups=3, logit_temperature=4.0)
    torch.testing.assert_close(values, neg_label(yes / 4, negative / 4, groups=3))


def test_csp_is_neg_label_with_other_words(yes: Tensor, negative: Tensor):
    options = {"groups": 5, "seed": 3, "logit_temperature": 2.0}
    torch.testing.assert_close(csp(yes, negative, **options), neg_label(yes, negative, **options))


def test_groups_have_one_size_and_leave_out_the_last_words():
    groups = group_words(23, groups=4, seed=0)
    assert groups.shape == (4, 5)
    assert sorted(groups.flatten().tolist()) == list(range(20))
    assert torch.equal(groups, group_words(23, groups=4, seed=0))
    assert not torch.equal(groups, group_words(23, groups=4, seed=1))


def test_with_one_group_the_order_of_the_words_does_not_matter(yes: Tensor, negative: Tensor):
    torch.testing.assert_close(
        neg_label(yes, negative.flip(1), groups=1, seed=1), neg_label(yes, negative, groups=1)
    )


def test_words_in_groups_ask_for_less_than_together(yes: Tensor, negative: Tensor):
    together = neg_label(yes, negative[:, :20], groups=1)
    assert (neg_label(yes, negative[:, :20], groups=5) > together).all()


def test_a_shift_of_all_logits_moves_nothing(yes: Tensor, negative: Tensor):
    torch.testing.assert_close(
        neg_label(yes + 300, negative + 300, groups=4), neg_label(yes, negative, groups=4)
    )


def test_extreme_logits_give_the_ends_of_the_range():
    yes = torch.tensor([[1e4], [-1e4], [1e4]])
    negative = torch.tensor([[-1e4], [1e4], [1e4]])
    assert neg_label(yes, negative, groups=1).tolist() == [1.0, 0.0, 0.5]


def test_images_are_compared_with_words_at_the_temperature_of_logits(
    full_task: Task, image: Tensor
):
    assert full_task.negatives is not None
    values = get_score("neg_label").prepare(full_task, groups=7)(ImageBatch(image=image))
    yes, negative = (20 * image @ texts.T for texts in (full_task.yes, full_task.negatives))
    torch.testing.assert_close(values, neg_label(yes, negative, groups=7))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"groups": 0}, "groups must lie between 1 and the number of words, 23; got 0"),
        ({"groups": 24}, "groups must lie between 1 and the number of words, 23; got 24"),
        ({"logit_temperature": 0.0}, "logit_temperature must be above 0; got 0.0"),
    ],
)
def test_wrong_options_are_refused(yes: Tensor, negative: Tensor, options: dict, message: str):
    with pytest.raises(ValueError, match=re.escape(message)):
        neg_label(yes, negative, **options)
