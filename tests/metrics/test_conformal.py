"""Conformal thresholds: the promise, for any scores and any classes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipn.metrics import (
    class_conformal_p_values,
    class_conformal_thresholds,
    classes_that_share,
    conformal_p_values,
    conformal_threshold,
    num_images_for,
    threshold_at_tpr,
)

ALPHAS = (0.05, 0.1, 0.29, 0.5)


@pytest.mark.parametrize(
    ("num", "alpha", "rank"), [(19, 0.05, 1), (38, 0.05, 1), (39, 0.05, 2), (99, 0.29, 29)]
)
def test_the_threshold_is_the_score_of_rank_n_plus_1_minus_ceil(num: int, alpha: float, rank: int):
    scores = np.random.default_rng(0).permutation(np.arange(1.0, num + 1))
    assert conformal_threshold(scores, alpha=alpha) == rank


def test_one_image_fewer_than_needed_is_refused_with_the_numbers():
    assert num_images_for(0.05) == 19
    with pytest.raises(ValueError, match=r"alpha=0\.05 takes 19 images at least.*got 18"):
        conformal_threshold(np.arange(18.0), alpha=0.05)
    with pytest.raises(ValueError, match=r"alpha=0\.05 takes 19 images at least.*got 18"):
        class_conformal_thresholds(np.arange(18.0), np.zeros(18, int), num_classes=2, alpha=0.05)


@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.1, float("nan"), 1e-12])
def test_an_alpha_out_of_range_is_refused(alpha: float):
    with pytest.raises(ValueError, match="alpha must"):
        num_images_for(alpha)


def test_the_usual_threshold_promises_less():
    """Of n + 1 images of which any may be the new one, it refuses more than 5 %."""
    bag = np.arange(201.0)
    usual = [bag[i] < threshold_at_tpr(np.delete(bag, i), tpr=0.95) for i in range(201)]
    kept = [bag[i] < conformal_threshold(np.delete(bag, i), alpha=0.05) for i in range(201)]
    assert sum(usual) == 11
    assert sum(kept) == 10


@given(
    scores=st.lists(st.integers(0, 30).map(float), min_size=20, max_size=50),
    alpha=st.sampled_from(ALPHAS),
)
@settings(deadline=None, max_examples=20)
def test_of_any_images_at_most_alpha_are_refused_when_each_is_the_new_one_once(
    scores: list[float], alpha: float
):
    """The proof: if images are drawn alike, each is equally likely to be the new one."""
    bag = np.array(scores)
    others = [np.delete(bag, row) for row in range(len(bag))]
    bounds = np.array([conformal_threshold(other, alpha=alpha) for other in others])
    refused = bag < bounds
    assert refused.sum() <= alpha * len(bag) + 1e-9
    p_values = [conformal_p_values(o, bag[i : i + 1])[0] for i, o in enumerate(others)]
    assert ((np.array(p_values) <= alpha) == refused).all()


@given(
    images=st.lists(
        st.tuples(st.integers(0, 40).map(float), st.integers(0, 4)), min_size=20, max_size=50
    ),
    alpha=st.sampled_from(ALPHAS),
)
@settings(deadline=None, max_examples=20)
def test_the_promise_holds_for_any_classes_with_any_number_of_images(
    images: list[tuple[float, int]], alpha: float
):
    bag, best = np.array([s for s, _ in images]), np.array([c for _, c in images])
    refused = np.zeros(len(bag), dtype=bool)
    for row in range(len(bag)):
        others, classes = np.delete(bag, row), np.delete(best, row)
        bounds = class_conformal_thresholds(others, classes, num_classes=6, alpha=alpha)
        refused[row] = bag[row] < bounds[best[row]]
        p_value = class_conformal_p_values(
            others, classes, bag[[row]], best[[row]], num_classes=6, alpha=alpha
        )
        assert (p_value[0] <= alpha) == refused[row]
    assert refused.sum() <= alpha * len(bag) + 1e-9


def test_classes_with_enough_images_have_their_own_thresholds():
    scores = np.concatenate([np.arange(40.0), 100 + np.arange(40.0), [500.0, 501.0]])
    best = np.repeat([0, 1, 2], [40, 40, 2])
    bounds = class_conformal_thresholds(scores, best, num_classes=4, alpha=0.05)
    assert bounds[:2].tolist() == [1.0, 101.0]
    assert classes_that_share(best, num_classes=4).tolist() == [False, False, True, True]


def test_rare_classes_are_not_compared_with_images_of_the_others():
    """Rare classes whose scores are low would be refused almost always by the common threshold."""
    generator = np.random.default_rng(0)
    best = np.repeat(np.arange(12), [100] + [10] * 11)
    scores = np.where(best == 0, 10.0, 0.0) + generator.random(len(best))
    common = [
        scores[row] < conformal_threshold(np.delete(scores, row), alpha=0.1)
        for row in range(len(best))
    ]
    own = []
    for row in range(len(best)):
        others, classes = np.delete(scores, row), np.delete(best, row)
        bounds = class_conformal_thresholds(others, classes, num_classes=12, alpha=0.1)
        own.append(scores[row] < bounds[best[row]])
    rare = best > 0
    assert np.mean(np.array(common)[rare]) > 0.15
    assert np.mean(np.array(own)[rare]) <= 0.1
    assert np.mean(np.array(own)[~rare]) <= 0.1


def test_classes_of_other_numbers_are_refused():
    with pytest.raises(ValueError, match="id_best must be classes from 0 to 1; got 0 to 2"):
        class_conformal_thresholds(np.arange(30.0), np.arange(30) % 3, num_classes=2)
