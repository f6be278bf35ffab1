"""The plots of an evaluation: histograms, ROC and risk-coverage curves, reliability."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float

from clipn.metrics import reliability_bins, roc_curve
from clipn.report.plots import (
    Axis,
    Curve,
    Mark,
    Plot,
    Points,
    line_path,
    make_axis,
    percent_axis,
    steps_path,
)

NUM_BINS = 40
NUM_POINTS = 160  # of a curve: more cannot be seen
LEAST_COVERAGE = 0.02  # where curves of risk begin
EDGE_SHARE = 0.002  # of a set's images that may lie beyond either end of a histogram


def histograms(
    id_scores: Mapping[str, Float[np.ndarray, " _"]],
    ood_scores: Mapping[str, Float[np.ndarray, " _"]],
    *,
    score: str,
    threshold: float | None = None,
) -> tuple[Plot, ...]:
    """Histograms of ID against OOD scores, one an OOD set, all with the same axes.

    Args:
        id_scores: Finite scores of the ID images, by the OOD set that they were scored beside.
        ood_scores: Finite scores of the OOD images.
        score: Name of the score.
        threshold: Drawn as a dashed line.

    Returns:
        A plot an OOD set, whose curves are two areas: "area id" and "area ood". A bin's height is
        the share of the set's images in it; images beyond the ends count in the outermost bins.
    """
    ends = np.array(
        [
            np.quantile(scores, [EDGE_SHARE, 1 - EDGE_SHARE])
            for scores in (*id_scores.values(), *ood_scores.values())
        ]
    )
    x = _score_axis(score, float(ends[:, 0].min()), float(ends[:, 1].max()))
    edges = np.linspace(x.low, x.high, NUM_BINS + 1)
    shares = {
        name: (_bin_shares(id_scores[name], edges), _bin_shares(scores, edges))
        for name, scores in ood_scores.items()
    }
    highest = max(float(share.max()) for pair in shares.values() for share in pair)
    y = percent_axis("images, %", 1.05 * highest)
    marks = () if threshold is None else (Mark(text="threshold", x=threshold),)
    return tuple(
        Plot(
            title=name,
            description=f"Histogram of {score}: ID images against {name}. Mean of the ID images "
            f"{id_scores[name].mean():.4g}, of {name} {ood_scores[name].mean():.4g}.",
            x=x,
            y=y,
            curves=(
                Curve(style="area ood", path=steps_path(outside, edges, x, y)),
                Curve(style="area id", path=steps_path(inside, edges, x, y)),
            ),
            marks=marks,
        )
        for name, (inside, outside) in shares.items()
    )


def _score_axis(score: str, low: float, high: float) -> Axis:
    """An axis of scores; those that fill most of [0, 1] are shown on the whole of it."""
    if low >= 0 and high <= 1 and high - low > 0.6:
        low, high = 0.0, 1.0
    return make_axis(score, low, high)


def _bin_shares(
    scores: Float[np.ndarray, " images"], edges: Float[np.ndarray, " edges"]
) -> Float[np.ndarray, " bins"]:
    counts, _ = np.histogram(np.clip(scores, edges[0], edges[-1]), bins=edges)
    return counts / len(scores)


def roc_points(
    id_scores: Float[np.ndarray, " num_id"], ood_scores: Float[np.ndarray, " num_ood"]
) -> Points:
    """The ROC curve, ID positive: (FPR, TPR) from (0, 0) to (1, 1), thinned where it is dense.

    Example:
        >>> roc_points(np.array([2.0, 3.0]), np.array([1.0, 2.0])).tolist()
        [[0.0, 0.0], [0.0, 0.5], [0.5, 1.0], [1.0, 1.0]]
    """
    curve = roc_curve(id_scores, ood_scores)
    return _thin(np.column_stack([curve.fpr, curve.tpr]))


def risk_points(
    scores: Float[np.ndarray, " images"], is_right: Bool[np.ndarray, " images"]
) -> Points:
    """Share of wrong answers among the images kept, over the share kept, most certain first.

    Example:
        >>> risk_points(np.array([3.0, 2.0, 1.0]), np.array([True, True, False])).round(2).tolist()
        [[0.33, 0.0], [0.67, 0.0], [1.0, 0.33]]
    """
    order = np.argsort(-scores, kind="stable")
    num_wrong = np.cumsum(~is_right[order])
    num_kept = np.arange(1, len(scores) + 1)
    # Images of one score are kept or left together, and a few images tell no share.
    is_point = np.append(np.diff(scores[order]) != 0, True) & (
        num_kept > LEAST_COVERAGE * len(scores)
    )
    return _thin(np.column_stack([num_kept / len(scores), num_wrong / num_kept])[is_point])


def _thin(points: Points) -> Points:
    """At most `NUM_POINTS` of a curve, evenly spread along both axes, the ends kept."""
    if len(points) <= NUM_POINTS:
        return points
    walked = np.abs(np.diff(points, axis=0)).sum(axis=1).cumsum()
    wanted = np.searchsorted(walked, np.linspace(0, walked[-1], NUM_POINTS)[:-1])
    return points[np.unique([*wanted, len(points) - 1])]


def roc_plot(
    set_name: str, curves: Mapping[str, Points], styles: Mapping[str, str], *, tpr: float = 0.95
) -> Plot:
    """The ROC curves of all scores on one OOD set.

    Args:
        set_name: The OOD set.
        curves: From `roc_points`, by the name of the score; the first is drawn on top.
        styles: Class of each score's curve.
        tpr: Where a dashed line is drawn.
    """
    x, y = percent_axis("OOD accepted (FPR), %"), percent_axis("ID kept (TPR), %")
    return Plot(
        title=set_name,
        description=f"ROC curves of {', '.join(curves)} on {set_name}, with a line at TPR "
        f"{100 * tpr:g} %.",
        x=x,
        y=y,
        curves=_lines(curves, styles, x, y),
        marks=(Mark(text=f"TPR {100 * tpr:g} %", y=tpr),),
    )


def risk_plot(curves: Mapping[str, Points], styles: Mapping[str, str]) -> Plot:
    """The risk-coverage curves of all scores, from `risk_points`."""
    highest = max(float(points[:, 1].max()) for points in curves.values())
    x = percent_axis("ID images kept, %")
    y = percent_axis("wrong among the kept, %", min(1.0, max(0.05, 1.05 * highest)))
    return Plot(
        title="Risk at coverage",
        description="Share of wrong answers among the ID images kept, over the share kept, of "
        + ", ".join(curves),
        x=x,
        y=y,
        curves=_lines(curves, styles, x, y),
    )


def _lines(
    curves: Mapping[str, Points], styles: Mapping[str, str], x: Axis, y: Axis
) -> tuple[Curve, ...]:
    return tuple(
        Curve(style=f"line {styles[name]}", path=line_path(curves[name], x, y))
        for name in reversed(list(curves))
    )


def reliability_plot(
    scores: Float[np.ndarray, " images"], is_right: Bool[np.ndarray, " images"], *, score: str
) -> Plot:
    """Accuracy of the answers by score, in bins of equally many images.

    Args:
        scores: Of the ID images.
        is_right: Whether their most likely class is their own.
        score: Name of the score. Where it lies in [0, 1], a diagonal shows what a probability
            would have.
    """
    bins = reliability_bins(is_right, scores, num_bins=10, binning="equal_mass")
    points = np.column_stack([bins.mean_score, bins.share_correct])
    y = percent_axis("right answers, %")
    x = _score_axis(score, float(points[0, 0]), float(points[-1, 0]))
    ends = np.clip([x.low, x.high], 0, 1)
    ideal = Curve(style="ideal", path=line_path(np.column_stack([ends, ends]), x, y))
    listed = ", ".join(f"{100 * right:.0f} % at {mean:.4g}" for mean, right in points)
    return Plot(
        title="Accuracy of the answer by score",
        description=f"Share of right answers among ID images by {score}: {listed}.",
        x=x,
        y=y,
        curves=(
            *((ideal,) if is_share(scores) else ()),
            Curve(style="line id", path=line_path(points, x, y)),
        ),
        dots=tuple((x.x(mean), y.y(right)) for mean, right in points),
    )


def is_share(scores: Float[np.ndarray, " images"]) -> bool:
    """Whether all scores lie in [0, 1] and can be read as a probability."""
    return bool(scores.min() >= 0 and scores.max() <= 1)
