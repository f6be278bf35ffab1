"""The figures together are the figures one by one."""

from dataclasses import FrozenInstanceError, asdict

import numpy as np
import pytest

from clipn.metrics import (
    SUMMARY_METRICS,
    Summary,
    aupr,
    auroc,
    detection_error,
    fpr_at_tpr,
    summarise,
)

Scores = tuple[np.ndarray, np.ndarray]


def test_the_summary_holds_what_each_function_gives(family: Scores):
    assert asdict(summarise(*family)) == {
        "auroc": auroc(*family),
        "fpr95": fpr_at_tpr(*family, tpr=0.95),
        "fpr95_ood_positive": fpr_at_tpr(*family, tpr=0.95, positive="ood"),
        "aupr_in": aupr(*family),
        "aupr_out": aupr(*family, positive="ood"),
        "detection_error": detection_error(*family),
    }


def test_every_field_has_its_metric():
    assert list(SUMMARY_METRICS) == list(Summary.__dataclass_fields__)


def test_a_summary_is_plain_numbers_that_do_not_change():
    summary = summarise(np.array([1.0, 2.0]), np.array([0.0, 1.5]))
    assert {type(figure) for figure in asdict(summary).values()} == {float}
    with pytest.raises(FrozenInstanceError):
        summary.auroc = 1.0


def test_the_smallest_summary_by_hand():
    """Two images of each: ID 1 and 2, OOD 0 and 1.5."""
    assert summarise(np.array([1.0, 2.0]), np.array([0.0, 1.5])) == Summary(
        auroc=0.75,
        fpr95=0.5,
        fpr95_ood_positive=0.5,
        aupr_in=(1 + 2 / 3) / 2,
        aupr_out=(1 + 2 / 3) / 2,
        detection_error=0.25,
    )


def test_missing_scores_are_refused_by_name():
    with pytest.raises(ValueError, match="ood_scores must be finite; got 1 of 1 that are not"):
        summarise(np.array([1.0]), np.array([np.nan]))
