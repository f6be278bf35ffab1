"""From scores to the figures of a result: metrics, intervals, and what decision rules do."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from clipn.benchmarks.results import SetScores
from clipn.metrics import bootstrap_summary, h_score, summarise, threshold_at_tpr

Refusals = dict[str, Bool[np.ndarray, " any"]]


def readable(scores: Float[np.ndarray, " images"]) -> Float[np.ndarray, " readable"]:
    """The scores of the images that could be read."""
    return scores[~np.isnan(scores)]


def measure_sets(
    scores: SetScores, kinds: Mapping[str, str], *, num_resamples: int, seed: int
) -> dict[str, dict[str, Any]]:
    """Every figure of every OOD set.

    Args:
        scores: Of all images.
        kinds: "near", "far" or "ood", by the name of the set.
        num_resamples: Of the bootstrap; 0 leaves the intervals out.
        seed: Of the bootstrap.

    Returns:
        Shares by the name of the figure, by the name of the set.
    """
    sets = {}
    for name, ood_scores in scores.ood_scores.items():
        inside, outside = readable(scores.id_scores[name]), readable(ood_scores)
        figures: dict[str, Any] = {"kind": kinds[name], **asdict(summarise(inside, outside))}
        if num_resamples:
            intervals = bootstrap_summary(inside, outside, num_resamples=num_resamples, seed=seed)
            figures |= {
                f"{metric}_interval": [interval.low, interval.high]
                for metric, interval in intervals.items()
            }
        sets[name] = figures
    return sets


def measure_rule(
    is_right: Bool[np.ndarray, " num_id"] | None,
    id_refused: Bool[np.ndarray, " num_id"],
    ood_refused: Refusals,
) -> dict[str, Any]:
    """What a decision rule does to images that could be read.

    Args:
        is_right: Whether each ID image's best class is its own; None without labels.
        id_refused: Which ID images are refused.
        ood_refused: Which OOD images are refused, by the name of their set.

    Returns:
        `id_kept` and `refused`, shares; with labels also `id_accuracy`, the share of ID images that
        are kept and right, and `h`, its harmonic mean with the share of all OOD images refused,
        pooled over the sets.
    """
    figures: dict[str, Any] = {
        "id_kept": float(1 - id_refused.mean()),
        "refused": {name: float(refused.mean()) for name, refused in ood_refused.items()},
    }
    if is_right is not None:
        pooled = float(np.concatenate(list(ood_refused.values())).mean())
        accuracy = float((is_right & ~id_refused).mean())
        figures |= {"id_accuracy": accuracy, "h": h_score(accuracy, pooled)}
    return figures


def measure_calibrated(scores: SetScores, *, tpr: float, seed: int) -> dict[str, Any]:
    """What a threshold does that a random half of the ID images sets, measured on the other half.

    Args:
        scores: Of all images.
        tpr: Share of ID images that the threshold keeps.
        seed: Of the halves.
    """
    first = next(iter(scores.id_scores.values()))
    rows = np.random.default_rng(seed).permutation(np.flatnonzero(~np.isnan(first)))
    calibration, rest = rows[: len(rows) // 2], rows[len(rows) // 2 :]
    kept, refused, thresholds = [], {}, {}
    for name, ood_scores in scores.ood_scores.items():
        inside = scores.id_scores[name]
        thresholds[name] = threshold_at_tpr(inside[calibration], tpr=tpr)
        kept.append(inside[rest] >= thresholds[name])
        refused[name] = readable(ood_scores) < thresholds[name]
    # Beside each OOD set the same images; they differ for scores that depend on the stream only.
    id_refused = ~np.concatenate(kept)
    right = None if scores.id_right is None else np.tile(scores.id_right[rest], len(kept))
    return {
        "tpr": tpr,
        "threshold": float(np.mean(list(thresholds.values()))),
        **measure_rule(right, id_refused, refused),
    }
