"""An exported file answers as the detector does, without torch."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clipn.calibration import Calibration
from clipn.detector import Detector
from clipn.errors import DataError, ModelError, NotCalibratedError
from clipn.export.onnx_detector import OnnxDetector
from clipn.scores import get_score

SCORES = ("ctw", "atd", "msp", "max_logit", "energy", "mcm")


@pytest.fixture(params=["onnx", "openvino"])
def runtime(request: pytest.FixtureRequest) -> str:
    if request.param == "openvino":
        pytest.importorskip("openvino", reason='OpenVINO is absent: pip install "clipn[openvino]"')
    return request.param


def assert_same_answers(detector: Detector, exported: OnnxDetector, images: list) -> None:
    """The same labels, and scores within 1e-4 of their size."""
    expected, found = detector.predict(images), exported.predict(images)
    np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-4, atol=1e-4)
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours.label, ours.best_class) == (theirs.label, theirs.best_class)
    assert (found.rule, found.score_name) == (expected.rule, expected.score_name)
    assert found.threshold == expected.threshold


@pytest.mark.parametrize("name", ["compact atd", "learnable atd"])
def test_answers_are_those_of_the_detector(export, pictures, runtime: str, name: str):
    detector, path = export(name)
    assert_same_answers(detector, OnnxDetector(path, runtime=runtime), pictures)


def test_a_threshold_decides_as_in_the_detector(export, pictures, runtime: str):
    detector, path = export("learnable threshold")
    exported = OnnxDetector(path, runtime=runtime)
    assert exported.rule == "threshold"
    assert_same_answers(detector, exported, pictures)
    middle = float(np.median(detector.score(pictures))) + 1e-3
    detector = Detector(detector.model, detector.class_names, score="msp", threshold=middle)
    assert_same_answers(detector, OnnxDetector(path, threshold=middle), pictures)


@pytest.mark.parametrize("name", ["compact atd", "learnable atd"])
@pytest.mark.parametrize("score", SCORES)
def test_any_simple_score_and_rule_can_be_asked_of_one_file(
    export, pictures, runtime: str, name: str, score: str
):
    detector, path = export(name)
    for rule in ("ctw", "atd"):
        expected = Detector(detector.model, detector.class_names, score=score, rule=rule)
        exported = OnnxDetector(path, score=score, rule=rule, runtime=runtime)
        assert_same_answers(expected, exported, pictures)
    own = OnnxDetector(path, score=score).rule
    assert own == (score if get_score(score).refuses else None)


def test_a_plain_clip_has_the_scores_that_need_no_no(export, pictures, runtime: str):
    detector, path = export("plain nothing")
    exported = OnnxDetector(path, runtime=runtime)
    assert exported.metadata.scores == ("msp", "max_logit", "energy", "mcm")
    np.testing.assert_allclose(exported.score(pictures), detector.score(pictures), rtol=1e-4)
    with pytest.raises(NotCalibratedError, match="energy"):
        exported.predict(pictures)
    assert exported.calibrate(pictures) == pytest.approx(detector.calibrate(pictures), rel=1e-4)
    assert exported.predict(pictures).rule == "threshold"
    with pytest.raises(ValueError, match="has no score 'atd'"):
        OnnxDetector(path, score="atd")
    with pytest.raises(ValueError, match='has not learned "no"'):
        OnnxDetector(path, rule="ctw")


def test_classes_as_input_come_from_a_detector_folder(
    export, pictures, runtime: str, tmp_path: Path
):
    detector, path = export("learnable threshold input")
    other = Detector(detector.model, ["dog", "pizza", "violin", "rocket"], score="msp")
    other.calibrate(pictures[:4])
    other.threshold = float(np.median(other.score(pictures))) + 1e-3
    other.save(tmp_path / "other")
    exported = OnnxDetector(path, classes=tmp_path / "other", runtime=runtime)
    assert exported.class_names == ("dog", "pizza", "violin", "rocket")
    assert exported.calibration == Calibration(tpr=0.95, num_images=4)
    assert_same_answers(other, exported, pictures)
    with pytest.raises(ValueError, match="name a detector folder"):
        OnnxDetector(path)


def test_classes_of_another_model_are_refused(export, tmp_path: Path):
    compact, path_of_compact = export("compact atd")
    _, path = export("learnable threshold input")
    compact.save(tmp_path)
    with pytest.raises(ModelError, match="another model"):
        OnnxDetector(path, classes=tmp_path)
    with pytest.raises(ValueError, match="brings its own classes"):
        OnnxDetector(path_of_compact, classes=tmp_path)
    (tmp_path / "detector.json").unlink()
    with pytest.raises(ModelError, match="no detector folder"):
        OnnxDetector(path, classes=tmp_path)


@pytest.mark.parametrize("name", ["compact atd", "learnable threshold", "compact ctw"])
def test_what_decided_is_told_as_the_detector_tells_it(export, pictures, runtime: str, name: str):
    detector, path = export(name)
    exported = OnnxDetector(path, runtime=runtime)
    for picture in pictures[:4]:
        found, expected = exported.explain(picture), detector.explain(picture)
        assert found.prediction.label == expected.prediction.label
        ours, theirs = found.evidence, expected.evidence
        assert (ours.rule, ours.quantity, ours.p_value) == (theirs.rule, theirs.quantity, None)
        assert (ours.value, ours.bound) == pytest.approx((theirs.value, theirs.bound), abs=1e-4)
        for one, other in zip(found.classes, expected.classes, strict=True):
            assert one.name == other.name
            for figure in ("logit_yes", "logit_no", "p_yes", "p_no"):
                assert getattr(one, figure) == pytest.approx(getattr(other, figure), abs=1e-3)
        assert found.no_map is None
        assert found.no_map_absence.startswith("An exported file gives no embeddings of")
    assert len(exported.explain(pictures[0], top_k=1).classes) == 1


def test_a_plain_clip_is_explained_without_its_no(export, pictures):
    exported = OnnxDetector(export("plain nothing")[1])
    with pytest.raises(NotCalibratedError, match="energy"):
        exported.explain(pictures[0])
    exported.calibrate([*pictures, *pictures], method="conformal", alpha=0.1, per_class=False)
    explanation = exported.explain(pictures[0])
    assert {one.p_no for one in explanation.classes} == {None}
    [p_value] = exported.p_values(pictures[:1])
    assert explanation.evidence.p_value == explanation.prediction.p_value == p_value


def test_the_fingerprint_knows_all_that_an_answer_depends_on(export, tmp_path: Path):
    path = export("learnable atd")[1]
    own = OnnxDetector(path).fingerprint()
    assert own == OnnxDetector(path).fingerprint()
    others = [
        OnnxDetector(path, score="ctw"),
        OnnxDetector(path, rule="ctw"),
        OnnxDetector(path, threshold=0.5),
        OnnxDetector(path, decoding="reduced"),
        OnnxDetector(export("learnable threshold")[1]),
    ]
    assert own not in {other.fingerprint() for other in others}


def test_bad_images_raise_or_are_kept_with_their_reason(export, pictures, tmp_path: Path):
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"no image")
    exported = OnnxDetector(export("learnable atd")[1], batch_size=2)
    with pytest.raises(DataError, match=r"bad\.jpg"):
        exported.score([pictures[0], bad])
    answers = exported.predict([pictures[0], bad, pictures[1]], on_error="keep")
    assert [answer.error is None for answer in answers] == [True, False, True]
    [alone] = exported.predict(np.asarray(pictures[0]))
    assert (alone.image, alone.label) == ("<array (36, 40, 3)>", answers[0].label)
    assert alone.score == pytest.approx(answers[0].score, rel=1e-5)


def test_wrong_options_are_refused(export, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("jaxtyping.config.jaxtyping_disable", True)  # as users have it
    path = export("learnable atd")[1]
    with pytest.raises(ValueError, match="'onnx' or 'openvino'; got 'tensorrt'"):
        OnnxDetector(path, runtime="tensorrt")
    with pytest.raises(ValueError, match="finite"):
        OnnxDetector(path, threshold=float("nan"))
    with pytest.raises(ValueError, match="num_threads must be at least 1"):
        OnnxDetector(path, num_threads=0)


def test_torch_is_not_imported(export, pictures: list[Image.Image], tmp_path: Path):
    detector, path = export("learnable atd")
    picture = tmp_path / "picture.png"
    pictures[0].save(picture)
    script = f"""
import sys
import clipn
from clipn.cli.main import run
picture, path = {str(picture)!r}, {str(path)!r}
print(clipn.OnnxDetector(path).score([picture])[0])
detect = ["detect", picture, "--detector", path, "--explain"]
code = run([*detect, "--csv", {str(tmp_path / "answers.csv")!r}])
heavy = ("torch", "torchvision", "open_clip", "timm", "onnx")
print([name for name in heavy if name in sys.modules])
sys.exit(code)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    lines = done.stdout.splitlines()
    assert float(lines[0]) == pytest.approx(detector.score(pictures[:1])[0], abs=1e-4)
    assert 'the mass of "none of these"' in done.stdout.lower()
    assert lines[-1] == "[]"
    assert (tmp_path / "answers.csv").read_text().count("\n") == 2
