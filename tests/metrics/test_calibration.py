"""Reliability beside scikit-learn and by hand."""

import numpy as np
import pytest
from sklearn.calibration import calibration_curve

from clipn.metrics import expected_calibration_error, reliability_bins


@pytest.mark.parametrize(
    ("binning", "strategy"), [("equal_width", "uniform"), ("equal_mass", "quantile")]
)
@pytest.mark.parametrize("num_bins", [1, 2, 10, 15, 100])
@pytest.mark.parametrize("decimals", [1, 17])
def test_bins_are_scikit_learns(binning, strategy: str, num_bins: int, decimals: int):
    generator = np.random.default_rng(0)
    scores = generator.beta(5, 2, 500).round(decimals)
    correct = generator.random(500) < scores**2
    shares, means = calibration_curve(correct, scores, n_bins=num_bins, strategy=strategy)
    bins = reliability_bins(correct, scores, num_bins=num_bins, binning=binning)
    np.testing.assert_allclose(bins.share_correct, shares, rtol=0, atol=1e-12)
    np.testing.assert_allclose(bins.mean_score, means, rtol=0, atol=1e-12)
    assert bins.num_images.sum() == 500


def test_an_image_lies_within_the_edges_of_its_bin():
    scores = np.random.default_rng(1).normal(0, 30, 200)
    bins = reliability_bins(scores > 0, scores, num_bins=8, binning="equal_mass")
    assert bins.num_images.tolist() == [25] * 8
    assert (bins.low <= bins.mean_score).all()
    assert (bins.mean_score <= bins.high).all()
    assert (bins.low[0], bins.high[-1]) == (scores.min(), scores.max())


def test_edges_belong_to_the_bin_below_and_empty_bins_are_left_out():
    correct = np.array([True, False, True, True])
    bins = reliability_bins(correct, np.array([0.0, 0.25, 1.0, 0.76]), num_bins=4)
    assert bins.low.tolist() == [0.0, 0.75]
    assert bins.high.tolist() == [0.25, 1.0]
    assert bins.num_images.tolist() == [2, 2]
    assert bins.mean_score.tolist() == [0.125, 0.88]
    assert bins.share_correct.tolist() == [0.5, 1.0]


def test_equal_scores_share_a_bin():
    scores = np.array([3.0] * 9 + [4.0])
    bins = reliability_bins(scores > 3, scores, num_bins=5, binning="equal_mass")
    assert bins.num_images.tolist() == [9, 1]
    assert bins.share_correct.tolist() == [0.0, 1.0]
    constant = reliability_bins(scores > 3, np.zeros(10), binning="equal_mass")
    assert constant.num_images.tolist() == [10]


def test_the_error_by_hand():
    """Two bins: 0.2 claimed where half is right, 0.9 claimed where all is."""
    correct = np.array([True, False, True, True, True, True])
    confidence = np.array([0.2, 0.2, 0.9, 0.9, 0.9, 0.9])
    error = expected_calibration_error(correct, confidence, num_bins=2)
    assert error == pytest.approx((2 * 0.3 + 4 * 0.1) / 6)
    assert expected_calibration_error(correct, correct.astype(np.float64)) == 0.0
    assert expected_calibration_error(correct, (~correct).astype(np.float64)) == 1.0
    # In a single bin only the mean confidence counts: 4.0 / 6 against 5 / 6.
    assert expected_calibration_error(correct, confidence, num_bins=1) == pytest.approx(1 / 6)


def test_a_confidence_that_is_its_own_probability_is_calibrated():
    generator = np.random.default_rng(2)
    confidence = generator.random(200_000)
    correct = generator.random(200_000) < confidence
    assert expected_calibration_error(correct, confidence) < 0.01
    assert expected_calibration_error(correct, np.sqrt(confidence)) > 0.1


def test_scores_that_are_no_probabilities_are_refused():
    correct, logits = np.array([True, False]), np.array([-1.0, 21.5])
    message = r"scores must lie in \[0, 1\]; got -1.0 to 21.5; take binning=\"equal_mass\""
    with pytest.raises(ValueError, match=message):
        reliability_bins(correct, logits)
    for binning in ("equal_width", "equal_mass"):
        with pytest.raises(ValueError, match=r"confidence must lie in \[0, 1\]; got -1.0 to 21.5"):
            expected_calibration_error(correct, logits, binning=binning)


def test_options_and_missing_scores_are_refused():
    with pytest.raises(ValueError, match="num_bins must be at least 1; got 0"):
        reliability_bins(np.array([True]), np.array([0.5]), num_bins=0)
    with pytest.raises(ValueError, match="scores must be finite; got 1 of 1"):
        reliability_bins(np.array([True]), np.array([np.nan]))
    with pytest.raises(ValueError, match="confidence must hold at least one score"):
        expected_calibration_error(np.array([], dtype=bool), np.array([]))
