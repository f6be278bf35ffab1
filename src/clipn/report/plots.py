"""Plots as plain geometry, which a template turns into SVG that follows the page's colours."""

import math
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

WIDTH, HEIGHT = 320, 220
LEFT, RIGHT, TOP, BOTTOM = 46.0, 310.0, 12.0, 180.0  # edges of the drawing within the picture

Points = Float[np.ndarray, "_ 2"]


@dataclass(frozen=True, kw_only=True)
class Axis:
    """An axis that is linear in its values.

    Attributes:
        label: What it measures.
        low: Value at the left or lower end.
        high: Value at the other end.
        ticks: Values that are written beside it.
        decimals: Of the written values.
        unit: What the written values count.
    """

    label: str
    low: float
    high: float
    ticks: tuple[float, ...]
    decimals: int
    unit: float = 1.0

    def place(
        self, values: Float[np.ndarray, " points"], first: float, last: float
    ) -> Float[np.ndarray, " points"]:
        """Where values lie when the axis runs from `first` to `last`; never beyond its ends."""
        shares = (values - self.low) / (self.high - self.low)
        return first + np.clip(shares, 0, 1) * (last - first)

    def x(self, value: float) -> float:
        """Where a value lies when this is the horizontal axis."""
        return round(float(self.place(np.array([value]), LEFT, RIGHT)[0]), 1)

    def y(self, value: float) -> float:
        """Where a value lies when this is the vertical axis."""
        return round(float(self.place(np.array([value]), BOTTOM, TOP)[0]), 1)

    def write(self, value: float) -> str:
        """A tick's text."""
        return f"{value / self.unit:.{self.decimals}f}".replace("-", "\N{MINUS SIGN}")


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A line or an area.

    Attributes:
        style: Classes of the style sheet.
        path: SVG path data.
    """

    style: str
    path: str


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A dashed line across the drawing, with a word beside it.

    Attributes:
        text: The word; may be empty.
        x: Value on the horizontal axis, of a vertical line.
        y: Value on the vertical axis, of a horizontal line.
    """

    text: str
    x: float | None = None
    y: float | None = None


@dataclass(frozen=True, kw_only=True)
class Plot:
    """One drawing.

    Attributes:
        title: Its caption.
        description: What it shows, for those who cannot see it.
        x: Horizontal axis.
        y: Vertical axis.
        curves: In the order in which they are drawn.
        marks: Dashed lines.
        dots: Points that are drawn as dots.
    """

    title: str
    description: str
    x: Axis
    y: Axis
    curves: tuple[Curve, ...]
    marks: tuple[Mark, ...] = ()
    dots: tuple[tuple[float, float], ...] = ()


def make_axis(label: str, low: float, high: float, *, min_ticks: int = 3) -> Axis:
    """An axis with ticks at round values.

    Args:
        label: What it measures.
        low: Value at the left or lower end.
        high: Value at the other end; one that is not above `low` is moved away from it.
        min_ticks: How many ticks there are at least.

    Example:
        >>> axis = make_axis("score", 0.12, 0.31)
        >>> [axis.write(tick) for tick in axis.ticks]
        ['0.15', '0.20', '0.25', '0.30']
    """
    if not high - low > 1e-12 * max(1.0, abs(low), abs(high)):  # a constant score
        margin = 0.5 * max(1.0, abs(low))
        low, high = low - margin, high + margin
    power = 10.0 ** math.floor(math.log10(high - low))
    for step in (power * 5, power * 2, power, power / 2, power / 5, power / 10):
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first + 1 >= min_ticks:
            break
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    ticks = tuple(round(number * step, decimals) + 0.0 for number in range(first, last + 1))
    return Axis(label=label, low=low, high=high, ticks=ticks, decimals=decimals)


def percent_axis(label: str, high: float = 1.0) -> Axis:
    """An axis of shares from 0 to `high`, written in percent."""
    axis = make_axis(label, 0.0, 100 * high, min_ticks=5)
    ticks = tuple(tick / 100 for tick in axis.ticks)
    return replace(axis, high=high, ticks=ticks, unit=0.01)


def line_path(points: Points, x: Axis, y: Axis) -> str:
    """SVG path data of a line through points."""
    across, up = x.place(points[:, 0], LEFT, RIGHT), y.place(points[:, 1], BOTTOM, TOP)
    return "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in zip(across, up, strict=True))


def steps_path(
    shares: Float[np.ndarray, " bins"], edges: Float[np.ndarray, " edges"], x: Axis, y: Axis
) -> str:
    """The outline of a histogram, from the base line to the base line."""
    across, up = x.place(edges, LEFT, RIGHT), y.place(shares, BOTTOM, TOP)
    steps = "".join(f"V{b:.1f}H{a:.1f}" for a, b in zip(across[1:], up, strict=True))
    return f"M{across[0]:.1f} {BOTTOM:.1f}{steps}V{BOTTOM:.1f}Z"
