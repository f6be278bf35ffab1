"""The counts that everything follows from."""

import numpy as np
import pytest
from sklearn.metrics import roc_curve as sklearn_roc_curve

from clipn.metrics import roc_curve

Scores = tuple[np.ndarray, np.ndarray]


def test_the_curve_is_scikit_learns(family: Scores):
    inside, outside = family
    is_id = np.repeat([1, 0], [inside.size, outside.size])
    scores = np.concatenate(family).astype(np.float64)
    fpr, tpr, thresholds = sklearn_roc_curve(is_id, scores, drop_intermediate=False)
    curve = roc_curve(inside, outside)
    assert curve.thresholds.tolist() == thresholds.tolist()
    assert curve.tpr.tolist() == tpr.tolist()
    assert curve.fpr.tolist() == fpr.tolist()
    assert (curve.num_id, curve.num_ood) == (inside.size, outside.size)


def test_the_counts_by_hand():
    curve = roc_curve(np.array([0.5, 0.1, 0.5]), np.array([0.5, 0.3]))
    assert curve.thresholds.tolist() == [np.inf, 0.5, 0.3, 0.1]
    assert curve.id_kept.tolist() == [0, 2, 2, 3]
    assert curve.ood_kept.tolist() == [0, 1, 2, 2]


def test_the_order_of_the_scores_does_not_matter_and_they_are_left_as_they_are():
    inside, outside = np.array([3.0, 1.0, 2.0]), np.array([2.0, 0.0, 5.0])
    curve, turned = roc_curve(inside, outside), roc_curve(inside[::-1], outside[::-1])
    assert curve.id_kept.tolist() == turned.id_kept.tolist()
    assert curve.ood_kept.tolist() == turned.ood_kept.tolist()
    assert (inside.tolist(), outside.tolist()) == ([3.0, 1.0, 2.0], [2.0, 0.0, 5.0])


def test_a_share_outside_of_its_range_is_refused():
    curve = roc_curve(np.array([1.0]), np.array([0.0]))
    for positive in ("id", "ood"):
        with pytest.raises(ValueError, match=r"tpr must lie in \(0, 1\]; got 95"):
            curve.fpr_at(95, positive=positive)
