"""Why an image is named or refused: the numbers are those that decided."""

import numpy as np
import pytest
import torch
from open_clip.timm_model import TimmModel
from PIL import Image

from clipn import scores
from clipn.detector import Detector
from clipn.errors import DataError, ModelError, NotCalibratedError
from clipn.explanation import Explanation
from clipn.model import CLIPN
from clipn.model.patches import grid_of_patches

NAMES = ["cat", "violin", "shoe"]


def make_images(count: int) -> list[Image.Image]:
    generator = np.random.default_rng(0)
    patches = generator.integers(0, 256, (count, 4, 4, 3), dtype=np.uint8)
    return [Image.fromarray(patch).resize((40, 36), Image.Resampling.NEAREST) for patch in patches]


def logits(detector: Detector, image: Image.Image) -> tuple[torch.Tensor, torch.Tensor]:
    """yes and no of all classes, in the order of the names."""
    with torch.inference_mode():
        embedding = detector.model.encode_image([image]).double()
    banks = (detector.bank.yes, detector.bank.no)
    return tuple(detector.model.tau * embedding @ rows.double().T for rows in banks)


@pytest.mark.parametrize("rule", ["ctw", "atd", "threshold"])
def test_the_value_and_its_bound_say_what_the_answer_says(learnable_model: CLIPN, rule: str):
    images = make_images(12)
    detector = Detector(learnable_model, NAMES, score="atd" if rule == "threshold" else rule)
    if rule == "threshold":
        detector.threshold, detector.rule = float(np.median(detector.score(images))), "threshold"
    answers = detector.predict(images)
    for image, answer in zip(images, answers, strict=True):
        explanation = detector.explain(image)
        evidence = explanation.evidence
        assert evidence.rule == rule
        refused = evidence.value < evidence.bound
        assert answer.is_ood == (
            refused if rule == "threshold" else evidence.value > evidence.bound
        )
        assert explanation.prediction.label == answer.label
        assert explanation.prediction.score == pytest.approx(answer.score, rel=1e-5)
        assert f"{evidence.value:.4g}" in evidence.reason
        assert evidence.p_value is None


def test_the_classes_are_ranked_with_their_yes_and_no(learnable_model: CLIPN):
    image = make_images(1)[0]
    detector = Detector(learnable_model, NAMES)
    yes, no = logits(detector, image)
    classes = detector.explain(image).classes
    order = yes[0].argsort(descending=True).tolist()
    assert [one.name for one in classes] == [NAMES[row] for row in order]
    for one, row in zip(classes, order, strict=True):
        assert one.logit_yes == pytest.approx(yes[0, row].item(), rel=1e-5)
        assert one.logit_no == pytest.approx(no[0, row].item(), rel=1e-5)
        assert one.p_yes == pytest.approx(yes.softmax(dim=-1)[0, row].item(), rel=1e-5)
        assert one.p_no == pytest.approx((no - yes).sigmoid()[0, row].item(), rel=1e-5)
    assert len(detector.explain(image, top_k=2).classes) == 2
    with pytest.raises(ValueError, match="top_k must be at least 1; got 0"):
        detector.explain(image, top_k=0)


def test_atd_compares_the_unknown_mass_with_the_largest_of_a_class(learnable_model: CLIPN):
    image = make_images(1)[0]
    detector = Detector(learnable_model, NAMES, score="atd")
    yes, no = logits(detector, image)
    kept = yes.softmax(dim=-1) * (1 - (no - yes).sigmoid())
    evidence = detector.explain(image).evidence
    assert evidence.bound == pytest.approx(kept.max().item(), rel=1e-5)
    assert evidence.value == pytest.approx(1 - scores.atd(yes, no).item(), rel=1e-5)


def test_a_conformal_calibration_adds_the_p_value(learnable_model: CLIPN):
    images = make_images(90)
    detector = Detector(learnable_model, NAMES, score="msp")
    detector.calibrate(images, method="conformal", alpha=0.2)
    told = [detector.explain(image) for image in images[:20]]
    np.testing.assert_allclose(
        [one.evidence.p_value for one in told], detector.p_values(images[:20]), atol=0.04
    )
    bounds = dict(zip(NAMES, detector.threshold, strict=True))
    for one in told:
        assert one.evidence.bound == bounds[one.prediction.best_class]
        relation = "is not above alpha 0.2" if one.prediction.is_ood else "is above alpha 0.2"
        assert relation in one.evidence.reason


# The map of "no"


def test_the_map_is_the_no_of_the_best_class_in_each_part(learnable_model: CLIPN):
    image = make_images(1)[0]
    detector = Detector(learnable_model, NAMES)
    explanation = detector.explain(image)
    best = NAMES.index(explanation.prediction.best_class)
    with torch.inference_mode():
        pixels = detector.preprocess(image)[None]
        patches = detector.model.encode_patches(pixels)[0]
        margin = detector.bank.no[best] - detector.bank.yes[best]
        expected = (detector.model.tau * patches @ margin).sigmoid()
    assert explanation.no_map is not None
    rows, columns = explanation.no_map.shape
    assert rows == columns
    assert rows * columns == len(patches)
    np.testing.assert_allclose(explanation.no_map.ravel(), expected.numpy(), atol=1e-4)
    assert explanation.no_map_absence is None


def test_the_compact_model_has_a_map(compact_model: CLIPN):
    assert isinstance(compact_model.visual, TimmModel)
    explanation = Detector(compact_model, NAMES).explain(make_images(1)[0])
    assert explanation.no_map is not None
    assert explanation.no_map.min() >= 0
    assert explanation.no_map.max() <= 1


def test_without_a_no_or_without_patches_it_says_why_there_is_no_map(
    plain_model: CLIPN, learnable_model: CLIPN
):
    plain = Detector(plain_model, NAMES, score="msp", threshold=0.5).explain(make_images(1)[0])
    assert plain.no_map is None
    assert 'has not learned to say "no"' in plain.no_map_absence
    assert plain.classes[0].logit_no is plain.classes[0].p_no is None
    learnable_model.visual.pool_type = "none"
    pooled = Detector(learnable_model, NAMES)._map_no(torch.zeros(1, 3, 32, 32), 0)
    assert pooled[0] is None
    assert "has no embeddings of patches" in pooled[1]


def test_positions_form_a_grid_of_the_image_s_proportions():
    assert grid_of_patches(8, height=64, width=128) == (2, 4)
    with pytest.raises(ModelError, match="7 parts of an image of 32x32 form no grid"):
        grid_of_patches(7, height=32, width=32)


def test_what_cannot_be_explained_is_said(learnable_model: CLIPN):
    with pytest.raises(NotCalibratedError, match="'msp' has no decision rule"):
        Detector(learnable_model, NAMES, score="msp").explain(make_images(1)[0])
    with pytest.raises(DataError):
        Detector(learnable_model, NAMES).explain(b"no image")


def test_an_explanation_cannot_be_changed(learnable_model: CLIPN):
    explanation = Detector(learnable_model, NAMES).explain(make_images(1)[0])
    assert isinstance(explanation, Explanation)
    with pytest.raises(AttributeError):
        explanation.classes = ()
