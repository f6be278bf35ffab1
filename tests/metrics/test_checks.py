"""What is refused whatever the metric, and shares as whole numbers of images."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipn.metrics.checks import (
    check_choice,
    check_same_length,
    finite_scores,
    flags,
    num_to_keep,
)


@settings(deadline=None)
@given(st.integers(1, 10_000), st.integers(1, 10_000_000))
def test_the_number_to_keep_is_that_of_the_decimal(per_myriad: int, size: int):
    exact = Fraction(per_myriad, 10_000) * size
    num_kept = num_to_keep("tpr", per_myriad / 10_000, size)
    assert num_kept - 1 < exact <= num_kept


def test_scores_come_back_in_double_precision():
    assert finite_scores("scores", np.float16([1, 2])).dtype == np.float64
    assert finite_scores("scores", [1, 2]).tolist() == [1.0, 2.0]


@pytest.mark.parametrize("shape", [(), (2, 3)])
def test_scores_that_are_no_list_are_refused(shape: tuple[int, ...]):
    with pytest.raises(ValueError, match=r"scores must have one axis, \(images,\); got shape \("):
        finite_scores("scores", np.zeros(shape))


def test_flags_that_are_numbers_are_refused():
    with pytest.raises(TypeError, match=r"correct must hold truth values \(bool\); got float64"):
        flags("correct", np.array([0.0, 1.0]))
    with pytest.raises(ValueError, match="correct must have one axis"):
        flags("correct", np.array([], dtype=bool))


def test_arrays_of_different_lengths_are_told_by_name():
    with pytest.raises(ValueError, match=r"in each of one, other; one has 2, other has 3\."):
        check_same_length(one=np.zeros(2), other=np.zeros(3))


def test_an_unknown_word_is_told_beside_the_known_ones():
    with pytest.raises(ValueError, match="positive must be one of 'id', 'ood'; got 'in'"):
        check_choice("positive", "in", ("id", "ood"))
