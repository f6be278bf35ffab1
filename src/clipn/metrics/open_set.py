"""Accuracy on known classes, and how it goes together with refusing the unknown ones."""

import numpy as np
from jaxtyping import Bool, Int

from clipn.metrics.checks import check_same_length, flags


def id_accuracy(predicted: Int[np.ndarray, " num_id"], labels: Int[np.ndarray, " num_id"]) -> float:
    """The share of ID images whose most likely class is their own, nobody refused.

    Args:
        predicted: Index of the most likely class of each image.
        labels: Index of its true class.

    Returns:
        From 0 to 1 (perfect).

    Raises:
        ValueError: If there are none, or not equally many of both.

    Example:
        >>> id_accuracy(np.array([0, 1, 1, 2]), np.array([0, 1, 2, 2]))
        0.75
    """
    check_same_length(predicted=predicted, labels=labels)
    return float(flags("predicted == labels", predicted == labels).mean())


def h_score(known_accuracy: float, unknown_refused: float) -> float:
    """The harmonic mean of two shares: H = 2 a u / (a + u), and 0 if both are 0.

    Source: Bucci, Loghmani & Tommasi, "On the effectiveness of image rotation for open set domain
    adaptation", ECCV 2020 (HOS); the figure of open domain generalization.

    Args:
        known_accuracy: a, share of the images of known classes that are given their class; one that
            is refused counts as wrong.
        unknown_refused: u, share of the images of unknown classes that are refused.

    Returns:
        From 0 to 1 (perfect); 0 if either is 0.

    Raises:
        ValueError: If either lies outside [0, 1].

    Example:
        >>> h_score(0.5, 1.0)
        0.6666666666666666
    """
    for name, share in (("known_accuracy", known_accuracy), ("unknown_refused", unknown_refused)):
        if not 0 <= share <= 1:
            raise ValueError(f"{name} must be a share, in [0, 1]; got {share}.")
    if known_accuracy + unknown_refused == 0:
        return 0.0
    return 2 * known_accuracy * unknown_refused / (known_accuracy + unknown_refused)


def open_set_h(
    known_correct: Bool[np.ndarray, " num_known"], unknown_refused: Bool[np.ndarray, " num_unknown"]
) -> float:
    """`h_score` of the answers to single images, pooled over all classes.

    Args:
        known_correct: Whether each image of a known class is given its class.
        unknown_refused: Whether each image of an unknown class is refused.

    Returns:
        From 0 to 1 (perfect).

    Raises:
        ValueError: If either is empty.
        TypeError: If either holds anything but truth values.

    Example:
        >>> open_set_h(np.array([True, False]), np.array([True, True, True]))
        0.6666666666666666
    """
    return h_score(
        float(flags("known_correct", known_correct).mean()),
        float(flags("unknown_refused", unknown_refused).mean()),
    )
