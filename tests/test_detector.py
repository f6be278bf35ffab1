"""The detector: answers, thresholds, folders."""

import itertools
import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from drawings import make_images
from PIL import Image

from clipn import scores
from clipn.detector import Detector
from clipn.errors import DataError, ModelError, NotCalibratedError
from clipn.model import CLIPN
from clipn.predictions import NONE_OF_THESE

NAMES = ["cat", "espresso", "school bus"]


@pytest.fixture
def detector(learnable_model: CLIPN) -> Detector:
    return Detector(learnable_model, NAMES)


@pytest.mark.parametrize("name", ["atd", "ctw"])
def test_scores_and_decisions_are_those_of_the_pure_functions(learnable_model: CLIPN, name: str):
    images = make_images(12)
    detector = Detector(learnable_model, NAMES, score=name)
    with torch.inference_mode():
        embeddings = learnable_model.encode_image(images).double()
    yes = learnable_model.tau * embeddings @ detector.bank.yes.double().T
    no = learnable_model.tau * embeddings @ detector.bank.no.double().T
    refused = scores.get_score(name).refuses(yes, no).tolist()
    answers = detector.predict(images)
    np.testing.assert_allclose(answers.scores, getattr(scores, name)(yes, no).numpy(), rtol=1e-9)
    assert [answer.is_ood for answer in answers] == refused
    best = [NAMES[row] for row in yes.argmax(dim=1)]
    assert [answer.best_class for answer in answers] == best
    labels = [NONE_OF_THESE if ood else b for ood, b in zip(refused, best, strict=True)]
    assert [answer.label for answer in answers] == labels
    assert answers.rule == name


def test_predict_and_score_agree_whatever_the_batch_size(learnable_model: CLIPN):
    images = make_images(11)
    small = Detector(learnable_model, NAMES, batch_size=3, num_workers=1)
    large = Detector(learnable_model, NAMES, batch_size=64)
    np.testing.assert_allclose(small.score(images), large.predict(images).scores, rtol=1e-5)


def test_an_image_is_the_same_as_path_bytes_array_tensor_and_pil(
    detector: Detector, tmp_path: Path
):
    image = make_images(1)[0]
    path = tmp_path / "one.png"
    image.save(path)
    array = np.asarray(image)
    kinds = [
        path,
        str(path),
        path.read_bytes(),
        image,
        array,
        torch.from_numpy(array.copy()).permute(2, 0, 1),
        array.astype(np.float64) / 255,
    ]
    values = detector.score(kinds)
    np.testing.assert_allclose(values, values[0], rtol=1e-6)
    assert detector.predict(array)[0].score == pytest.approx(values[0], rel=1e-6)


def test_an_endless_iterator_is_read_lazily(learnable_model: CLIPN):
    detector = Detector(learnable_model, NAMES, batch_size=4)
    num_pulled = 0

    def endless() -> Iterator[Image.Image]:
        nonlocal num_pulled
        for image in itertools.cycle(make_images(2)):
            num_pulled += 1
            yield image

    answers = list(itertools.islice(detector.stream(endless()), 10))
    assert len(answers) == 10
    assert num_pulled < 10 + 4 * 4


def test_no_images_give_no_answers(detector: Detector):
    assert len(detector.predict([])) == 0
    assert detector.score([]).shape == (0,)
    assert detector.predict([]).to_dataframe().columns.tolist()[:2] == ["image", "label"]


def test_a_bad_image_raises_or_is_kept_with_its_reason(detector: Detector, tmp_path: Path):
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"no image")
    images = [make_images(1)[0], bad, make_images(1, seed=1)[0]]
    with pytest.raises(DataError, match=r"bad\.jpg"):
        detector.predict(images)
    with pytest.raises(DataError, match=r"bad\.jpg"):
        detector.score(images)
    answers = detector.predict(images, on_error="keep")
    assert len(answers) == 3
    assert [answer.error is None for answer in answers] == [True, False, True]
    assert math.isnan(answers[1].score)
    assert answers[1].is_ood is None
    assert answers.unreadable == (answers[1],)
    np.testing.assert_allclose(
        answers.scores[[0, 2]], detector.score([images[0], images[2]]), rtol=1e-6
    )


def test_a_batch_of_bad_images_only_is_kept(detector: Detector):
    answers = detector.predict([b"x", b"y"], on_error="keep")
    assert [answer.label for answer in answers] == ["", ""]


# Thresholds


def test_calibration_keeps_the_share_of_images_that_it_promises(detector: Detector):
    images = make_images(40)
    threshold = detector.calibrate(images, tpr=0.9)
    answers = detector.predict(images)
    assert answers.rule == "threshold"
    assert answers.threshold == threshold
    assert sum(not answer.is_ood for answer in answers) == 36
    assert detector.calibration is not None
    assert detector.calibration.num_images == 40


def test_calibration_on_few_images_is_warned_of(
    detector: Detector, caplog: pytest.LogCaptureFixture
):
    detector.calibrate(make_images(3))
    assert "3 images is a rough guess" in caplog.text


@pytest.mark.parametrize("tpr", [0.0, -1.0, 1.5, math.nan])
def test_a_tpr_out_of_range_is_refused(detector: Detector, tpr: float):
    with pytest.raises(ValueError, match="tpr must lie in"):
        detector.calibrate(make_images(2), tpr=tpr)


def test_calibration_without_images_is_refused(detector: Detector):
    with pytest.raises(DataError, match="at least one image"):
        detector.calibrate([])


def test_a_threshold_decides_before_any_rule(learnable_model: CLIPN):
    images = make_images(9)
    middle = float(np.median(Detector(learnable_model, NAMES).score(images)))
    answers = Detector(learnable_model, NAMES, threshold=middle).predict(images)
    assert [a.is_ood for a in answers] == [a.score < middle for a in answers]


def test_a_rule_of_the_paper_can_decide_for_another_score(learnable_model: CLIPN):
    images = make_images(9)
    by_rule = Detector(learnable_model, NAMES, score="msp", rule="ctw").predict(images)
    by_score = Detector(learnable_model, NAMES, score="ctw").predict(images)
    assert [a.is_ood for a in by_rule] == [a.is_ood for a in by_score]


# A plain CLIP


@pytest.mark.parametrize("name", ["msp", "max_logit", "energy", "mcm"])
def test_a_plain_clip_works_with_scores_that_need_no_no(plain_model: CLIPN, name: str):
    detector = Detector(plain_model, NAMES, score=name)
    images = make_images(25)
    assert np.isfinite(detector.score(images)).all()
    with pytest.raises(NotCalibratedError, match="has no decision rule of its own"):
        detector.predict(images)
    detector.calibrate(images)
    assert detector.predict(images).rule == "threshold"


@pytest.mark.parametrize(
    "options", [{"score": "atd"}, {"score": "ctw"}, {"score": "msp", "rule": "ctw"}]
)
def test_a_plain_clip_asked_for_no_says_how_to_get_one(plain_model: CLIPN, options: dict):
    with pytest.raises(ModelError, match="clipn train"):
        Detector(plain_model, NAMES, **options)


@pytest.mark.parametrize(
    ("name", "need"),
    [
        ("odin", "gradients"),
        ("react", "id_images"),
        ("gl_mcm", "patches"),
        ("ada_neg", "order, words"),
        ("eoe", "outliers"),
    ],
)
def test_scores_that_need_more_are_left_to_the_evaluation(
    learnable_model: CLIPN, name: str, need: str
):
    with pytest.raises(ValueError, match=f"'{name}' needs {need}, which .*clipn eval"):
        Detector(learnable_model, NAMES, score=name)


def test_a_score_of_ones_own_works_like_any_other(
    plain_model: CLIPN, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(scores.registry, "SCORES", dict(scores.SCORES))

    @scores.register_score("margin")
    def margin(logits_yes: torch.Tensor) -> torch.Tensor:
        best = logits_yes.topk(2, dim=-1).values
        return best[:, 0] - best[:, 1]

    images = make_images(4)
    values = Detector(plain_model, NAMES, score="margin").score(images)
    with torch.inference_mode():
        bank = plain_model.class_bank(NAMES)
        logits = plain_model.logits(plain_model.encode_image(images), bank)
    np.testing.assert_allclose(values, margin(logits.yes).numpy(), rtol=1e-3)


def test_mcm_is_taken_of_raw_cosines(learnable_model: CLIPN):
    images = make_images(5)
    detector = Detector(learnable_model, NAMES, score="mcm", threshold=0.0)
    with torch.inference_mode():
        cosines = learnable_model.encode_image(images) @ detector.bank.yes.T
    np.testing.assert_allclose(detector.score(images), scores.mcm(cosines).numpy(), rtol=1e-5)


# Classes and options


def test_one_class_is_enough(learnable_model: CLIPN):
    answers = Detector(learnable_model, ["cat"]).predict(make_images(4))
    assert {answer.best_class for answer in answers} == {"cat"}
    ctw = Detector(learnable_model, ["cat"], score="ctw").score(make_images(4))
    np.testing.assert_allclose(answers.scores, ctw, rtol=1e-6)


def test_thousands_of_classes_work(learnable_model: CLIPN):
    names = [f"thing number {number}" for number in range(2000)]
    detector = Detector(learnable_model, names, templates=["{}"])
    assert detector.bank.yes.shape == (2000, 24)
    assert detector.predict(make_images(2))[0].best_class in names


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "At least one class name"),
        (["cat", " "], "Class name 1 is empty"),
        (["cat", "CAT "], "occurs twice"),
    ],
)
def test_empty_and_doubled_names_are_refused(
    learnable_model: CLIPN, names: list[str], message: str
):
    with pytest.raises(ValueError, match=message):
        Detector(learnable_model, names)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"score": "best"}, "Unknown score 'best'; there are ctw, atd"),
        ({"threshold": math.nan}, "threshold must be a finite number"),
    ],
)
def test_wrong_options_are_refused(learnable_model: CLIPN, options: dict, message: str):
    with pytest.raises(ValueError, match=message):
        Detector(learnable_model, NAMES, **options)


# Folders


def test_a_detector_answers_the_same_after_saving_and_loading(
    learnable_model: CLIPN, tmp_path: Path
):
    images = make_images(30)
    detector = Detector(learnable_model, NAMES, score="ctw", templates=["a {}", "the {}"])
    detector.calibrate(images)
    detector.save(tmp_path / "detector")
    loaded = Detector.load(tmp_path / "detector")
    assert repr(loaded) == repr(detector)
    assert loaded.calibration == detector.calibration
    assert loaded.bank.templates == ("a {}", "the {}")
    np.testing.assert_array_equal(loaded.score(images), detector.score(images))
    assert loaded.predict(images).items == detector.predict(images).items


def test_a_rule_survives_saving(learnable_model: CLIPN, tmp_path: Path):
    Detector(learnable_model, NAMES, score="msp", rule="ctw").save(tmp_path / "detector")
    assert Detector.load(tmp_path / "detector").rule == "ctw"


def test_a_named_model_is_kept_by_its_name(compact_model: CLIPN, tmp_path: Path):
    Detector(compact_model, NAMES).save(tmp_path / "detector")
    assert json.loads((tmp_path / "detector" / "detector.json").read_text())["model"] == "compact"
    assert not (tmp_path / "detector" / "model").exists()
    assert Detector.load(tmp_path / "detector").class_names == tuple(NAMES)


def test_a_damaged_or_foreign_detector_is_refused(learnable_model: CLIPN, tmp_path: Path):
    folder = tmp_path / "detector"
    with pytest.raises(ModelError, match="is no detector folder"):
        Detector.load(folder)
    Detector(learnable_model, NAMES).save(folder)
    config = json.loads((folder / "detector.json").read_text())

    def change(**values: object) -> None:
        (folder / "detector.json").write_text(json.dumps({**config, **values}))

    change(model_fingerprint="0" * 16)
    with pytest.raises(ModelError, match="made with other weights"):
        Detector.load(folder)
    change(format_version=99)
    with pytest.raises(ModelError, match="has format version 99"):
        Detector.load(folder)
    change(score="unheard of")
    with pytest.raises(ModelError, match="is damaged"):
        Detector.load(folder)
    change()
    (folder / "banks.safetensors").write_bytes(b"no tensors")
    with pytest.raises(ModelError, match=r"banks\.safetensors is not the file that"):
        Detector.load(folder)
    (folder / "detector.json").write_text('{"format_version": 1}')
    with pytest.raises(ModelError, match="lacks model, model_fingerprint"):
        Detector.load(folder)


# Decoding


@pytest.fixture
def large_jpeg(tmp_path: Path) -> Path:
    path = tmp_path / "large.jpg"
    make_images(1)[0].resize((512, 256), Image.Resampling.BICUBIC).save(path, quality=90)
    return path


def test_reduced_decoding_changes_scores_a_little_and_exact_not_at_all(
    learnable_model: CLIPN, large_jpeg: Path
):
    exact = Detector(learnable_model, NAMES).score(large_jpeg)
    reduced = Detector(learnable_model, NAMES, decoding="reduced").score(large_jpeg)
    opened = Image.open(large_jpeg)
    assert exact == Detector(learnable_model, NAMES, decoding="reduced").score(opened)
    assert reduced != exact
    np.testing.assert_allclose(reduced, exact, atol=0.01)


def test_the_decoding_of_a_loaded_detector_is_exact_and_may_be_changed(
    learnable_model: CLIPN, large_jpeg: Path, tmp_path: Path
):
    Detector(learnable_model, NAMES, decoding="reduced").save(tmp_path / "saved")
    loaded = Detector.load(tmp_path / "saved")
    assert loaded.score(large_jpeg) == Detector(learnable_model, NAMES).score(large_jpeg)
    loaded.decoding = "reduced"
    expected = Detector(learnable_model, NAMES, decoding="reduced").score(large_jpeg)
    assert loaded.score(large_jpeg) == expected
