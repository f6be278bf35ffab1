import base64
import io

import numpy as np
import pytest
from PIL import Image

from clipn.benchmarks.results import SetScores
from clipn.data.image_sets import ImageSet
from clipn.errors import DataError
from clipn.report.mistakes import (
    PICTURE_BUDGET,
    PICTURE_SIZE,
    Album,
    mean_id_scores,
    pictures_a_set,
)


def test_no_more_pictures_are_shown_than_asked_for(measured, coloured_set):
    result = measured.add("msp", np.linspace(0, 1, 9), {"things": np.linspace(0, 1, 7)})
    album = Album([coloured_set("pets", 9), coloured_set("things", 7)])

    accepted, rejected = album.mistakes(result, measured.scores[result.key], num_pictures=3)

    assert [picture.name for picture in accepted.pictures] == [
        "things/6.jpg", "things/5.jpg", "things/4.jpg",
    ]  # fmt: skip
    assert [picture.score for picture in rejected.pictures] == [0, 0.125, 0.25]


def test_an_image_is_read_once_for_all_scores(measured):
    class Counting(list):
        num_read = 0

        def __getitem__(self, row):
            self.num_read += 1
            return super().__getitem__(row)

    images = Counting(np.zeros((3, 8, 8), dtype=np.uint8))
    pets = ImageSet(
        name="pets", images=images, labels=None, label_names=(), ids=("a", "b", "c"),
        fingerprint="print of pets",
    )  # fmt: skip
    album = Album([pets])
    for score in ("msp", "energy"):
        result = measured.add(score, np.arange(3.0), {"things": np.arange(2.0)})
        *_, rejected = album.mistakes(result, measured.scores[result.key], num_pictures=3)

    assert images.num_read == 3
    assert [picture.label for picture in rejected.pictures] == [None] * 3


def test_large_images_are_made_small(measured):
    noise = np.random.default_rng(0).integers(0, 255, (300, 600, 3), dtype=np.uint8)
    pets = ImageSet(
        name="pets", images=(noise,), labels=(-1,), label_names=("cat",), ids=("a",),
        fingerprint="print of pets",
    )  # fmt: skip
    result = measured.add("msp", np.array([0.5, 0.7]), {"things": np.arange(2.0)})
    scores = SetScores(id_scores={"things": np.array([0.5])}, ood_scores={"things": np.arange(2.0)})

    *_, rejected = Album([pets]).mistakes(result, scores, num_pictures=8)

    (picture,) = rejected.pictures
    with Image.open(io.BytesIO(base64.b64decode(picture.jpeg))) as image:
        assert image.size == (PICTURE_SIZE, PICTURE_SIZE // 2)
    assert picture.label is None


def test_an_image_that_can_no_longer_be_read_is_an_error(measured, tmp_path):
    pets = ImageSet(
        name="pets", images=(str(tmp_path / "gone.jpg"),) * 2, labels=None, label_names=(),
        ids=("a", "b"), fingerprint="print of pets",
    )  # fmt: skip
    result = measured.add("msp", np.arange(2.0), {"things": np.arange(2.0)})

    with pytest.raises(DataError, match=r"gone\.jpg cannot be read"):
        Album([pets]).mistakes(result, measured.scores[result.key], num_pictures=2)


def test_the_pictures_of_a_page_stay_within_their_budget(measured):
    few = [measured.add("msp", np.arange(4.0), {"things": np.arange(2.0)})]
    many = few * 60

    assert pictures_a_set(few) == 8
    assert pictures_a_set(many) == PICTURE_BUDGET // 120
    assert pictures_a_set(many * 100) == 2


def test_scores_that_are_the_same_beside_all_sets_are_their_own_mean():
    once = np.array([0.1, np.nan])
    scores = SetScores(id_scores={"a": once, "b": once}, ood_scores={"a": once, "b": once})

    assert mean_id_scores(scores) == pytest.approx(once, nan_ok=True)
