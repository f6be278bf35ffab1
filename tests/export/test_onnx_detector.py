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
code = run(["detect", picture, "--detector", path, "--csv", {str(tmp_path / "answers.csv")!r}])
heavy = ("torch", "torchvision", "open_clip", "timm", "onnx")
print([name for name in heavy if name in sys.modules])
sys.exit(code)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    lines = done.stdout.splitlines()
    assert float(lines[0]) == pytest.approx(detector.score(pictures[:1])[0], abs=1e-4)
    assert lines[-1] == "[]"
    assert (tmp_path / "answers.csv").read_text().count("\n") == 2
