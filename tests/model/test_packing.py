"""Captions without padding: where every token goes, and where every caption ends."""

import pytest
import torch

from clipn.model.packing import pack


@pytest.mark.parametrize("lengths", [[1], [4, 4, 4], [5, 1, 3, 5, 2, 1], list(range(1, 8)), []])
def test_every_token_of_every_caption_is_packed_once_and_in_order(lengths: list[int]):
    context_length = 7
    packing = pack(torch.tensor(lengths, dtype=torch.long), context_length=context_length)
    order = packing.order.tolist()
    assert sorted(order) == list(range(len(lengths)))
    assert [lengths[row] for row in order] == sorted(lengths)
    expected = [context_length * row + place for row in order for place in range(lengths[row])]
    assert packing.source.tolist() == expected
    last_tokens = [context_length * row + lengths[row] - 1 for row in order]
    assert packing.source[packing.ends].tolist() == last_tokens


def test_groups_are_the_lengths_that_occur():
    packing = pack(torch.tensor([5, 1, 3, 5, 2, 1]), context_length=7)
    assert packing.groups == ((2, 1), (1, 2), (1, 3), (2, 5))
    assert packing.sizes == [2, 2, 3, 10]
    assert sum(packing.sizes) == len(packing.source)
