"""Answers, and the table made of them."""

import dataclasses
import math

import numpy as np
import pytest

from clipn.predictions import NONE_OF_THESE, Prediction, Predictions

CAT = Prediction(image="a.jpg", label="cat", score=0.9, is_ood=False, best_class="cat")
OTHER = Prediction(image="b.jpg", label=NONE_OF_THESE, score=0.1, is_ood=True, best_class="dog")
BROKEN = Prediction(
    image="c.jpg", label="", score=math.nan, is_ood=None, best_class="", error="c.jpg is cut short"
)


@pytest.fixture
def answers() -> Predictions:
    items = (CAT, OTHER, BROKEN)
    return Predictions(items=items, score_name="atd", rule="threshold", threshold=0.5)


def test_answers_are_a_sequence(answers: Predictions):
    assert len(answers) == 3
    assert list(answers) == [CAT, OTHER, BROKEN]
    assert answers[0] is CAT
    assert answers[-1] is BROKEN
    assert list(answers[:2]) == [CAT, OTHER]
    assert OTHER in answers
    assert answers.index(OTHER) == 1
    assert list(reversed(answers)) == [BROKEN, OTHER, CAT]
    with pytest.raises(IndexError):
        answers[3]


def test_scores_are_an_array_with_nan_for_what_could_not_be_read(answers: Predictions):
    assert answers.scores.dtype == np.float64
    np.testing.assert_array_equal(answers.scores, [0.9, 0.1, np.nan])
    assert answers.unreadable == (BROKEN,)


def test_the_table_has_a_row_an_image_and_a_column_a_field(answers: Predictions):
    table = answers.to_dataframe()
    assert list(table.columns) == [field.name for field in dataclasses.fields(Prediction)]
    assert list(table["image"]) == ["a.jpg", "b.jpg", "c.jpg"]
    assert list(table["label"]) == ["cat", "none of these", ""]
    assert list(table["is_ood"]) == [False, True, None]
    np.testing.assert_array_equal(table["score"].to_numpy(), answers.scores)
    assert table["error"].isna().tolist() == [True, True, False]


def test_no_answers_make_an_empty_table_with_the_same_columns():
    nothing = Predictions(items=(), score_name="msp", rule="ctw", threshold=None)
    assert len(nothing) == 0
    assert nothing.scores.shape == (0,)
    assert nothing.scores.dtype == np.float64
    assert nothing.unreadable == ()
    assert list(nothing.to_dataframe().columns) == list(Prediction.__dataclass_fields__)


def test_answers_cannot_be_changed(answers: Predictions):
    with pytest.raises(dataclasses.FrozenInstanceError):
        answers.threshold = 0.1
    with pytest.raises(dataclasses.FrozenInstanceError):
        CAT.score = 1.0
