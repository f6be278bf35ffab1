import numpy as np
import pytest

from clipn.report.plots import BOTTOM, LEFT, RIGHT, TOP, line_path, make_axis, percent_axis


@pytest.mark.parametrize(
    ("low", "high", "written"),
    [
        (0.0, 1.0, ["0.0", "0.5", "1.0"]),
        (0.0, 0.31, ["0.0", "0.1", "0.2", "0.3"]),
        (0.10001, 0.10031, ["0.1001", "0.1002", "0.1003"]),
        (-3.2, 4.1, ["\N{MINUS SIGN}2", "0", "2", "4"]),
        (12.0, 1900.0, ["500", "1000", "1500"]),
    ],
)
def test_ticks_are_round_and_lie_within(low, high, written):
    axis = make_axis("score", low, high)

    assert [axis.write(tick) for tick in axis.ticks] == written
    assert all(low <= tick <= high for tick in axis.ticks)


@pytest.mark.parametrize("value", [0.0, 1.0, -7.5, 1e6])
def test_a_single_value_lies_in_the_middle_of_its_axis(value):
    axis = make_axis("score", value, value)

    assert axis.x(value) == (LEFT + RIGHT) / 2
    assert len(axis.ticks) >= 3


def test_shares_are_written_in_percent():
    axis = percent_axis("kept, %")

    assert [axis.write(tick) for tick in axis.ticks] == ["0", "20", "40", "60", "80", "100"]
    assert [axis.y(tick) for tick in (axis.ticks[0], axis.ticks[-1])] == [BOTTOM, TOP]


def test_nothing_is_placed_beyond_the_ends_of_an_axis():
    axis = make_axis("score", 0.0, 1.0)

    assert [axis.x(value) for value in (-5.0, 0.5, 5.0)] == [LEFT, (LEFT + RIGHT) / 2, RIGHT]


def test_a_line_runs_through_its_points():
    axis = make_axis("", 0.0, 1.0)

    assert line_path(np.array([[0.0, 0.0], [1.0, 1.0]]), axis, axis) == "M46.0 180.0L310.0 12.0"
