"""An exported file answers behind the service as the detector does."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from clipn.detector import Detector
from clipn.model import CLIPN

pytest.importorskip("onnxruntime", reason='ONNX Runtime is absent: pip install "clipn[export]"')

from clipn.export.onnx_detector import OnnxDetector
from clipn.export.writing import export_detector
from clipn.serving.onnx_engine import OnnxEngine


@pytest.fixture(scope="module")
def detector(compact_model: CLIPN, class_names) -> Detector:
    return Detector(compact_model, class_names, score="ctw", threshold=0.4)


@pytest.fixture(scope="module")
def exported(serve, detector, tmp_path_factory) -> Iterator[httpx.Client]:
    """A service that runs an exported file."""
    path: Path = tmp_path_factory.mktemp("exported") / "detector.onnx"
    export_detector(detector, path)
    engine = OnnxEngine(OnnxDetector(path), name="detector.onnx")
    with (
        serve(engine=engine, initial={"default": engine.class_set}) as address,
        httpx.Client(base_url=address, timeout=60) as client,
    ):
        yield client


@pytest.mark.parametrize("score", [None, "ctw", "atd", "energy"])
def test_answers_are_those_of_the_detector(exported, detect, detector, photos, score):
    files = [path.read_bytes() for path in photos]
    fields = {} if score is None else {"score": score, "threshold": "0.4"}
    own = detector
    if score not in (None, "ctw"):
        own = Detector(detector.model, detector.class_names, score=score, threshold=0.4)

    response = detect(exported, *files, **fields).json()

    assert (response["rule"], response["threshold"]) == ("threshold", 0.4)
    for answer, expected in zip(response["answers"], own.predict(files), strict=True):
        assert answer["label"] == expected.label
        assert answer["score"] == pytest.approx(expected.score, abs=1e-4)


def test_yes_and_no_are_those_of_the_model(exported, client, detect, photos):
    file = photos[0].read_bytes()

    (answer,) = detect(exported, file).json()["answers"]

    (expected,) = detect(client, file).json()["answers"]
    for one, other in zip(answer["classes"], expected["classes"], strict=True):
        assert one == pytest.approx(other, abs=1e-4)


def test_it_tells_that_it_takes_no_other_classes(exported, detect, expect_problem, class_names):
    (info,) = exported.get("/v1/detectors").json()["detectors"]
    assert info["runtime"] == "onnx"
    assert not info["takes_classes"]
    assert info["default_class_set"] == "default"

    refused = detect(exported, b"GIF", classes="dog")

    expect_problem(refused, 422, "invalid-request")
    assert detect(exported, b"GIF", classes=class_names).status_code == 200
