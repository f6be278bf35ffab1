"""Draws the figures of "How CLIPN works" as SVG.

python docs/site/draw_figures.py
"""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch

from clipn.files import write_text
from clipn.scores import atd, ctw, msp

FIGURES = Path(__file__).parents[1] / "figures"
YES, NO, IMAGE, LINE = "#00796b", "#c62828", "#1565c0", "#607d8b"
FONT = 'font-family="sans-serif" font-size="14"'
TAU = 100.0


def svg(width: int, height: int, parts: Iterable[str], *, title: str) -> str:
    """A whole file, on white so that it can be read on dark pages too."""
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'role="img" {FONT}>\n'
        f"<title>{title}</title>\n"
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" '
        'markerHeight="8" orient="auto"><path d="M0 0L8 4L0 8z" fill="context-stroke"/>'
        "</marker></defs>\n"
        f'<rect width="{width}" height="{height}" fill="white"/>\n{body}\n</svg>\n'
    )


def text(x: float, y: float, words: str, *, color: str = "black", anchor: str = "middle") -> str:
    """Words at a place."""
    return f'<text x="{x:g}" y="{y:g}" fill="{color}" text-anchor="{anchor}">{words}</text>'


def arrow(x1: float, y1: float, x2: float, y2: float, *, color: str = LINE) -> str:
    """A line with a tip at its end."""
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{color}" '
        'stroke-width="2" marker-end="url(#tip)"/>'
    )


def box(x: float, y: float, width: float, lines: Sequence[str], *, color: str) -> str:
    """A rounded box with lines of text."""
    height = 20 * len(lines) + 16
    words = [text(x + width / 2, y + 22 + 20 * row, line) for row, line in enumerate(lines)]
    return (
        f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height}" rx="8" fill="{color}" '
        f'fill-opacity="0.12" stroke="{color}" stroke-width="1.5"/>' + "".join(words)
    )


def draw_towers() -> str:
    """From an image and class names to an answer."""
    parts = [
        box(10, 20, 150, ["image"], color=IMAGE),
        box(10, 110, 150, ["class names", "in templates"], color=LINE),
        box(220, 20, 160, ["image tower", "frozen"], color=IMAGE),
        box(220, 110, 160, ["yes tower", "frozen"], color=YES),
        box(220, 200, 160, ["no tower + prompts", "taught"], color=NO),
        box(450, 65, 150, ["l = tau f . g"], color=YES),
        box(450, 155, 150, ["n = tau f . g_no"], color=NO),
        box(660, 105, 130, ["score, rule", "or threshold"], color=LINE),
        arrow(160, 38, 218, 45),
        arrow(160, 138, 218, 138),
        arrow(160, 150, 218, 222),
        arrow(380, 45, 448, 78, color=IMAGE),
        arrow(380, 55, 448, 168, color=IMAGE),
        arrow(380, 132, 448, 92, color=YES),
        arrow(380, 222, 448, 180, color=NO),
        arrow(600, 85, 658, 120, color=YES),
        arrow(600, 170, 658, 140, color=NO),
    ]
    return svg(800, 270, parts, title="From an image and class names to an answer")


def draw_directions() -> str:
    """Embeddings on the unit circle: an image between a class and its no."""
    x0, y0, radius = 270, 210, 150
    parts = [f'<circle cx="{x0}" cy="{y0}" r="{radius}" fill="none" stroke="{LINE}"/>']
    for degrees, name, color in (
        (60, "g: a photo of a cat", YES),
        (120, "g_no: its no", NO),
        (75, "f of a cat", IMAGE),
        (105, "f of a moon", IMAGE),
    ):
        angle = math.radians(degrees)
        x, y = x0 + radius * math.cos(angle), y0 - radius * math.sin(angle)
        parts.append(arrow(x0, y0, x, y, color=color))
        far = 1.12 if color == IMAGE else 1.1
        anchor = "start" if degrees < 90 else "end"
        lift = -14 if color == IMAGE else 6
        place = (x0 + far * radius * math.cos(angle), y0 - far * radius * math.sin(angle) + lift)
        parts.append(text(*place, name, color=color, anchor=anchor))
    parts.append(text(x0, 250, "p_no = sigmoid(tau f . (g_no - g))"))
    parts.append(text(x0, 272, "one half where f is as near to both"))
    return svg(540, 380, parts, title="An image embedding between a class and its no")


def score_of_ambiguity(gaps: torch.Tensor) -> dict[str, torch.Tensor]:
    """Scores of images that the first class's "no" comes nearer to; it is 0.02 ahead of another."""
    yes = TAU * torch.tensor([[0.26, 0.24]], dtype=torch.float64).expand(len(gaps), 2)
    no = yes + TAU * torch.stack([gaps, torch.full_like(gaps, -0.03)], dim=1)
    return {"ctw": ctw(yes, no), "atd": atd(yes, no), "msp": msp(yes)}


def draw_scores() -> str:
    """What scores make of a "no" that comes nearer."""
    gaps = torch.linspace(-0.06, 0.06, 121, dtype=torch.float64)
    left, top, width, height = 60, 20, 440, 220
    parts = [
        f'<rect x="{left}" y="{top}" width="{width}" height="{height}" fill="none" '
        f'stroke="{LINE}"/>',
        text(
            left + width / 2,
            top + height + 42,
            "best class: cosine to its no, less cosine to its yes",
        ),
    ]
    for share in (0.0, 0.5, 1.0):
        parts.append(text(left - 8, top + height * (1 - share) + 5, f"{share:g}", anchor="end"))
    for gap in (-0.06, 0.0, 0.06):
        x = left + width * (gap + 0.06) / 0.12
        parts.append(text(x, top + height + 20, f"{gap:g}"))
    colors = {"ctw": NO, "atd": IMAGE, "msp": YES}
    for row, (name, scores) in enumerate(score_of_ambiguity(gaps).items()):
        points = " ".join(
            f"{left + width * index / 120:.1f},{top + height * (1 - score):.1f}"
            for index, score in enumerate(scores.tolist())
        )
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{colors[name]}" stroke-width="2.5" '
            f'stroke-dasharray="{("none", "7 4", "2 4")[row]}"/>'
        )
        parts.append(
            text(left + width + 14, 60 + 24 * row, name, color=colors[name], anchor="start")
        )
    return svg(560, 290, parts, title="Scores as the no comes nearer")


DRAWINGS = {"towers": draw_towers, "directions": draw_directions, "scores": draw_scores}


def main() -> None:
    """Write all figures."""
    for name, draw in DRAWINGS.items():
        write_text(FIGURES / f"{name}.svg", draw())


if __name__ == "__main__":
    main()
