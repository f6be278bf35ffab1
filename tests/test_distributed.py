"""With one process every function of several is the identity."""

import pytest
import torch

from clipn.distributed import FailTogether, exchange, gather, rank, world_size


def test_one_process_is_the_first_and_only():
    assert (rank(), world_size()) == (0, 1)
    assert exchange({"a": 1}) == [{"a": 1}]


def test_gathering_alone_gives_the_same_rows_and_gradient():
    rows = torch.randn(3, 4, requires_grad=True)
    assert gather(rows) is rows
    gather(rows).pow(2).sum().backward()
    torch.testing.assert_close(rows.grad, 2 * rows)


def test_rows_of_whole_numbers_can_be_gathered():
    keys = torch.tensor([5, 6, 7])
    assert gather(keys) is keys


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_alone_comes_out_as_it_is(error):
    with FailTogether():
        pass
    with pytest.raises(error, match="mine"), FailTogether():
        raise error("mine")
