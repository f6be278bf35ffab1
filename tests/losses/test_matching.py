"""Which pairs belong together."""

import pytest
import torch

from clipn.losses import PairKeys, match_pairs


@pytest.mark.parametrize(
    ("keys", "classes", "expected"),
    [
        ([1, 2, 3], [-1, -1, -1], ["100", "010", "001"]),
        ([1, 2, 1], [-1, -1, -1], ["101", "010", "101"]),
        ([1, 2, 3], [5, 6, 5], ["101", "010", "101"]),
        ([1, 2, 3], [0, 0, -1], ["110", "110", "001"]),
        ([1, 1, 2], [4, 5, 5], ["110", "111", "011"]),  # not transitive: 0 and 2 share nothing
        ([9], [-1], ["1"]),
        ([], [], []),
    ],
)
def test_pairs_with_equal_captions_or_classes_match(
    keys: list[int], classes: list[int], expected: list[str]
):
    pairs = PairKeys(torch.tensor(keys, dtype=torch.long), torch.tensor(classes, dtype=torch.long))
    matches = match_pairs(pairs, pairs)
    assert matches.dtype == torch.bool
    assert ["".join(str(int(value)) for value in row) for row in matches] == expected
    assert torch.equal(matches, matches.T)


def test_some_pairs_are_compared_with_all():
    keys = PairKeys(torch.tensor([1, 2, 1, 3]), torch.tensor([-1, 4, -1, 4]))
    whole = match_pairs(keys, keys)
    part = slice(1, 3)
    assert torch.equal(match_pairs(keys.part(part), keys), whole[part])
