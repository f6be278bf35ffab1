"""What conformal calibration promises: on real scores, saved, exported and served."""

import io
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq
import pytest
from drawings import make_images
from fastapi.testclient import TestClient
from jaxtyping import Bool, Float, Int

from clipn.batch import score_images
from clipn.calibration import ConformalCalibration
from clipn.data.class_names import read_class_list
from clipn.detector import Detector
from clipn.errors import DataError, ModelError, NotCalibratedError
from clipn.export.onnx_detector import OnnxDetector
from clipn.export.writing import export_detector
from clipn.metrics import (
    class_conformal_thresholds,
    conformal_threshold,
    threshold_at_tpr,
)
from clipn.model import CLIPN
from clipn.serving.app import create_app
from clipn.serving.engine import Engine
from clipn.serving.onnx_engine import OnnxEngine
from clipn.serving.schemas import ClassSetContent
from clipn.serving.torch_engine import TorchEngine, describe_detector

NUM_SPLITS, NUM_CALIBRATION, ALPHA = 1000, 300, 0.05


class RealScores(NamedTuple):
    """Scores of CIFAR-10's test images, and the class that each is taken for."""

    scores: Float[np.ndarray, " images"]
    best: Int[np.ndarray, " images"]


class Shares(NamedTuple):
    """Shares of refused ID images over splits."""

    mean: float
    error: float


@pytest.fixture(scope="module")
def real(shared_dir: Path, compact_model: CLIPN) -> RealScores:
    table = pq.read_table(shared_dir / "data/cifar10_test.parquet", columns=["image"])
    images = [row["bytes"] for row in table.slice(0, 600).column("image").to_pylist()]
    names = list(read_class_list("cifar10").values())
    answers = Detector(compact_model, names).predict(images)
    row_of = {name: row for row, name in enumerate(names)}
    return RealScores(answers.scores, np.array([row_of[a.best_class] for a in answers]))


def splits(num_images: int) -> list[Bool[np.ndarray, " images"]]:
    """Which images calibrate, a thousand times."""
    generator = np.random.default_rng(0)
    order = [generator.permutation(num_images) for _ in range(NUM_SPLITS)]
    return [permutation < NUM_CALIBRATION for permutation in order]


def shares(refused: list[float]) -> Shares:
    return Shares(float(np.mean(refused)), float(np.std(refused) / np.sqrt(len(refused))))


def test_over_1000_splits_of_real_scores_the_refused_share_is_just_below_alpha(real: RealScores):
    refused, usual = [], []
    for inside in splits(len(real.scores)):
        known, new = real.scores[inside], real.scores[~inside]
        refused.append((new < conformal_threshold(known, alpha=ALPHA)).mean())
        usual.append((new < threshold_at_tpr(known, tpr=1 - ALPHA)).mean())
    expected = np.floor(ALPHA * (NUM_CALIBRATION + 1)) / (NUM_CALIBRATION + 1)
    mean, error = shares(refused)
    assert mean <= ALPHA
    assert abs(mean - expected) < 3 * error
    assert error < 0.001
    assert shares(usual).mean > expected + 3 * error


def test_over_1000_splits_the_promise_holds_among_the_images_taken_for_each_class(
    real: RealScores,
):
    by_class: list[list[float]] = [[] for _ in range(10)]
    overall, common = [], [[] for _ in range(10)]
    for inside in splits(len(real.scores)):
        known, new = real.scores[inside], real.scores[~inside]
        bounds = class_conformal_thresholds(known, real.best[inside], num_classes=10, alpha=ALPHA)
        refused = new < bounds[real.best[~inside]]
        overall.append(refused.mean())
        refused_by_one = new < conformal_threshold(known, alpha=ALPHA)
        for row in range(10):
            of_class = real.best[~inside] == row
            by_class[row].append(refused[of_class].mean())
            common[row].append(refused_by_one[of_class].mean())
    assert 0.5 * ALPHA < shares(overall).mean <= ALPHA
    for part in map(shares, by_class):
        assert part.mean <= ALPHA + 3 * part.error
        assert part.mean > 0.3 * ALPHA
    # With one threshold for all, some class has more of its images refused than was promised.
    assert max(shares(part).mean for part in common) > 1.3 * ALPHA


# Detectors

NAMES = ["cat", "violin", "shoe"]  # each is the best class of some of these images


@pytest.fixture
def detector(learnable_model: CLIPN) -> Detector:
    return Detector(learnable_model, NAMES, score="msp")


@pytest.fixture
def by_class(detector: Detector) -> Detector:
    """Calibrated, with more than one threshold."""
    detector.calibrate(make_images(90), method="conformal", alpha=0.2)
    assert isinstance(detector.threshold, tuple)
    assert len(set(detector.threshold)) == 3
    return detector


def test_p_values_of_at_most_alpha_are_what_is_refused(by_class: Detector):
    images = make_images(60, seed=1)
    p_values, answers = by_class.p_values(images), by_class.predict(images)
    assert [answer.is_ood for answer in answers] == (p_values <= 0.2).tolist()
    assert [answer.p_value for answer in answers] == p_values.tolist()
    assert answers.to_dataframe()["p_value"].tolist() == p_values.tolist()
    assert 0 < sum(answer.is_ood for answer in answers) < 60
    assert p_values.min() > 0
    assert p_values.max() <= 1
    assert by_class.p_values([]).shape == (0,)


def test_each_class_is_compared_with_its_own_threshold(by_class: Detector):
    images = make_images(60, seed=1)
    bounds = dict(zip(NAMES, by_class.threshold, strict=True))
    for answer in by_class.predict(images):
        assert answer.is_ood == (answer.score < bounds[answer.best_class])
    assert "by class)" in repr(by_class)


def test_one_threshold_for_all_classes_can_be_asked_for(detector: Detector):
    images = make_images(60)
    threshold = detector.calibrate(images, method="conformal", alpha=0.1, per_class=False)
    assert threshold == conformal_threshold(detector.score(images), alpha=0.1)
    refused = [answer.is_ood for answer in detector.predict(images)]
    assert refused == (detector.p_values(images) <= 0.1).tolist()


def test_classes_that_share_may_still_be_compared_with_other_images():
    """A new image of C makes A and B too few for themselves; one of A or B does not."""
    best = np.repeat([0, 1, 2], [10, 9, 40])
    scores = np.where(best == 2, 10.0, 0.0) + np.random.default_rng(0).random(59)
    calibration = ConformalCalibration(
        alpha=0.05, scores=tuple(scores.tolist()), best=tuple(best.tolist()), num_classes=3
    )
    assert calibration.shared_classes.all()
    expected = class_conformal_thresholds(scores, best, num_classes=3, alpha=0.05)
    assert calibration.threshold == tuple(expected.tolist())
    assert expected[0] == scores[best < 2].min()
    assert expected[2] == np.sort(scores)[2]
    p_values = calibration.p_values(expected - 1e-9, np.arange(3))
    assert (p_values <= 0.05).all()


def test_classes_with_too_few_images_are_named(
    detector: Detector, caplog: pytest.LogCaptureFixture
):
    threshold = detector.calibrate(make_images(25), method="conformal")
    assert isinstance(threshold, float)
    assert "3 of 3 classes share a threshold, since fewer than 19 images" in caplog.text
    assert "'violin'" in caplog.text


def test_too_few_images_are_refused_with_the_numbers(detector: Detector):
    with pytest.raises(DataError, match=r"from 18 images.*at most 0\.05.*19 at least.*1/19"):
        detector.calibrate(make_images(18), method="conformal", alpha=0.05)
    assert detector.calibration is None
    with pytest.raises(DataError, match="at least one image"):
        detector.calibrate([], method="conformal")
    detector.calibrate(make_images(18), method="conformal", alpha=1 / 19)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": 0.05}, "alpha belongs to the other method; method='tpr' takes tpr"),
        ({"method": "conformal", "tpr": 0.95}, "tpr belongs to the other method"),
        ({"method": "conformal", "alpha": 1.5}, r"alpha must lie in \(0, 1\); got 1.5"),
    ],
)
def test_wrong_options_are_refused(detector: Detector, options: dict, message: str):
    with pytest.raises(ValueError, match=message):
        detector.calibrate(make_images(2), **options)


def test_p_values_need_a_conformal_calibration(detector: Detector):
    detector.calibrate(make_images(20))
    with pytest.raises(NotCalibratedError, match='method="conformal"'):
        detector.p_values(make_images(1))
    answers = detector.predict(make_images(1))
    assert answers[0].p_value is None
    assert np.isnan(answers.to_dataframe()["p_value"]).all()


def test_it_is_saved_with_the_detector(by_class: Detector, tmp_path: Path):
    by_class.save(tmp_path / "detector")
    loaded, images = Detector.load(tmp_path / "detector"), make_images(30, seed=2)
    assert loaded.calibration == by_class.calibration
    assert loaded.threshold == by_class.threshold
    assert loaded.fingerprint() == by_class.fingerprint()
    assert loaded.predict(images) == by_class.predict(images)
    np.testing.assert_array_equal(loaded.p_values(images), by_class.p_values(images))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"threshold": [0.5]}, "one for each of the 3 classes; got 1"),
        ({"calibration": {"alpha": 0.05}}, "calibration of .* is damaged"),
        ({"calibration": {"alpha": 0.5, "scores": [], "best": None, "num_classes": 3}}, "damaged"),
    ],
)
def test_a_damaged_calibration_is_refused(
    by_class: Detector, tmp_path: Path, change: dict, message: str
):
    by_class.save(tmp_path / "detector")
    file = tmp_path / "detector" / "detector.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(ModelError, match=message):
        Detector.load(tmp_path / "detector")


def test_an_exported_file_decides_likewise_and_gives_p_values(by_class: Detector, tmp_path: Path):
    path, images = tmp_path / "detector.onnx", make_images(40, seed=3)
    export_detector(by_class, path)
    exported = OnnxDetector(path)
    assert exported.threshold == by_class.threshold
    assert exported.calibration == by_class.calibration
    expected, found = by_class.predict(images), exported.predict(images)
    assert [a.label for a in found] == [a.label for a in expected]
    np.testing.assert_allclose(exported.p_values(images), by_class.p_values(images), atol=0.03)
    decisions = exported.run(np.stack([exported.preprocess(image) for image in images]))
    assert (decisions["decision"] < 0).tolist() == [answer.is_ood for answer in expected]
    engine = OnnxEngine(exported, name="file")
    assert_served(engine, engine.class_set, by_class)


def test_batch_runs_decide_likewise(by_class: Detector, tmp_path: Path):
    (tmp_path / "photos").mkdir()
    for number, image in enumerate(make_images(12, seed=4)):
        image.save(tmp_path / "photos" / f"{number:02d}.png")
    for _ in range(2):  # the second run finds what the first one did
        score_images(tmp_path / "photos", tmp_path / "out", by_class)
    rows = [pq.read_table(part) for part in sorted((tmp_path / "out").glob("part-*.parquet"))]
    labels = [label for table in rows for label in table.column("label").to_pylist()]
    photos = sorted((tmp_path / "photos").iterdir())
    answers = by_class.predict(photos)
    assert labels == [answer.label for answer in answers]
    p_values = [value for table in rows for value in table.column("p_value").to_pylist()]
    assert p_values == [answer.p_value for answer in answers]


def test_it_is_served_as_it_decides(by_class: Detector):
    engine, content = TorchEngine.from_detector(by_class, name="a"), describe_detector(by_class)
    assert_served(engine, content, by_class)


def assert_served(engine: Engine, content: ClassSetContent, detector: Detector) -> None:
    """The service names the same images, and says by which thresholds."""
    images, files = make_images(20, seed=5), []
    for image in images:
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        files.append(("images", buffer.getvalue()))
    with TestClient(create_app(engine, class_sets={"default": content})) as client:
        body = client.post("/v1/detect", files=files).json()
        expected = detector.predict(images)
        assert [a["label"] for a in body["answers"]] == [a.label for a in expected]
        assert body["threshold"] == list(detector.threshold)
        assert client.get("/v1/classes/default").json()["threshold"] == body["threshold"]
        p_values = [a["p_value"] for a in body["answers"]]
        assert p_values == pytest.approx([a.p_value for a in expected], abs=0.03)
        # Whoever names the classes, and whatever decides; but not for another score.
        for fields in ({"rule": "ctw"}, {"threshold": "0"}, {"classes": NAMES, "threshold": "0"}):
            again = client.post("/v1/detect", files=files, data=fields).json()
            assert [a["p_value"] for a in again["answers"]] == p_values
        other = client.post("/v1/detect", files=files, data={"score": "atd"}).json()
        assert {a["p_value"] for a in other["answers"]} == {None}
