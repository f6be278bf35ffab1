"""Conformal thresholds for each class: the promise holds among the images taken for it.

Classes with enough calibration images have a group of their own, the others share one. Images that
are grouped by what was seen are no longer drawn alike: were a class with few images compared with
all images, up to twice the promised share could be refused. Here the groups depend on calibration
images and new image together, whichever of them is the new one, and the promise holds exactly: the
groups of a new image are those that result when it is counted too.

Source: Vovk, "Conditional Validity of Inductive Conformal Predictors", ACML 2012, for groups that
    are known beforehand.
"""

import numpy as np
from jaxtyping import Bool, Float, Int

from clipn.metrics.checks import finite_scores
from clipn.metrics.conformal import conformal_p_values, conformal_threshold, num_images_for

__all__ = ["class_conformal_p_values", "class_conformal_thresholds", "classes_that_share"]


def class_conformal_thresholds(
    id_scores: Float[np.ndarray, " num_id"],
    id_best: Int[np.ndarray, " num_id"],
    *,
    num_classes: int,
    alpha: float = 0.05,
) -> Float[np.ndarray, " num_classes"]:
    """A threshold for each class; the promise holds among the images that are taken for it.

    Args:
        id_scores: Scores of n calibration images, higher = more in-distribution.
        id_best: The most likely class of each, as the model says, right or wrong.
        num_classes: How many classes there are.
        alpha: Share of new ID images to refuse at most, in (0, 1).

    Returns:
        One of the scores for each class.

    Raises:
        ValueError: If `conformal_threshold` would raise it for all scores, or `id_best` are not the
            classes of the scores.

    Example:
        >>> scores, best = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6]), np.array([0, 0, 0, 1, 1, 1])
        >>> class_conformal_thresholds(scores, best, num_classes=2, alpha=0.4).tolist()
        [0.1, 0.4]
    """
    inside, best = _check(id_scores, id_best, num_classes)
    counts, needed = np.bincount(best, minlength=num_classes), num_images_for(alpha)
    return np.array(
        [
            conformal_threshold(inside[_group_of(row, counts, needed)[best]], alpha=alpha)
            for row in range(num_classes)
        ]
    )


def class_conformal_p_values(
    id_scores: Float[np.ndarray, " num_id"],
    id_best: Int[np.ndarray, " num_id"],
    scores: Float[np.ndarray, " images"],
    best: Int[np.ndarray, " images"],
    *,
    num_classes: int,
    alpha: float = 0.05,
) -> Float[np.ndarray, " images"]:
    """How usual each score is among ID images taken for the same class, or group of classes.

    Args:
        id_scores: Scores of n calibration images.
        id_best: The most likely class of each.
        scores: Scores of other images.
        best: The most likely class of each.
        num_classes: How many classes there are.
        alpha: The share that is promised; it says which classes have enough images.

    Returns:
        From 0 to 1; at most alpha if and only if the score is below its class's threshold.

    Raises:
        ValueError: As `class_conformal_thresholds` does.
    """
    inside, id_best = _check(id_scores, id_best, num_classes)
    counts, needed = np.bincount(id_best, minlength=num_classes), num_images_for(alpha)
    values = np.ones(len(scores))
    for row in np.unique(best):
        group = _group_of(row, counts, needed)
        values[best == row] = conformal_p_values(inside[group[id_best]], scores[best == row])
    return values


def classes_that_share(
    id_best: Int[np.ndarray, " num_id"], *, num_classes: int, alpha: float = 0.05
) -> Bool[np.ndarray, " num_classes"]:
    """Which classes have too few calibration images for a threshold that is theirs alone.

    Args:
        id_best: The most likely class of each calibration image.
        num_classes: How many classes there are.
        alpha: Share of new ID images to refuse at most.

    Example:
        >>> classes_that_share(np.repeat([0, 1, 2], [30, 18, 5]), num_classes=3).tolist()
        [False, True, True]
    """
    counts, needed = np.bincount(id_best, minlength=num_classes), num_images_for(alpha)
    return np.array([_group_of(row, counts, needed).sum() > 1 for row in range(num_classes)])


def _group_of(
    new: int | np.integer, counts: Int[np.ndarray, " classes"], needed: int
) -> Bool[np.ndarray, " classes"]:
    """The classes that an image of class `new` is compared with, once it is counted itself."""
    counted = counts.copy()
    counted[new] += 1
    # Fewest images first; the classes up to `num_sharing` share a group.
    order = np.argsort(counted, kind="stable")
    sums = np.cumsum(counted[order])
    num_sharing = int((counted <= needed).sum())
    if num_sharing and 0 < sums[num_sharing - 1] <= needed:
        # Even together they are too few: classes that have enough join them, all if need be.
        num_sharing = int(np.searchsorted(sums, needed, side="right")) + 1
    place = int(np.flatnonzero(order == new)[0])
    group = np.zeros(len(counts), dtype=bool)
    group[order[:num_sharing] if place < num_sharing else new] = True
    return group


def _check(
    id_scores: Float[np.ndarray, " num_id"], id_best: Int[np.ndarray, " num_id"], num_classes: int
) -> tuple[Float[np.ndarray, " num_id"], Int[np.ndarray, " num_id"]]:
    """The scores in float64 and the classes, or an error that names them."""
    inside = finite_scores("id_scores", id_scores)
    if id_best.min() < 0 or id_best.max() >= num_classes:
        raise ValueError(
            f"id_best must be classes from 0 to {num_classes - 1}; got {id_best.min()} to "
            f"{id_best.max()}."
        )
    return inside, id_best
