"""What an exported file holds, and when there is none."""

import re
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from clipn.detector import Detector
from clipn.errors import ModelError
from clipn.export import checking
from clipn.export.graph import DetectorGraph
from clipn.export.metadata import METADATA_KEY, ExportMetadata
from clipn.export.runtime import open_session
from clipn.export.writing import export_detector
from clipn.model import CLIPN


def read_shapes(values) -> dict[str, list[int | str]]:
    return {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in values
    }


def test_a_file_has_the_promised_inputs_and_outputs(export):
    exported = onnx.load(export("learnable atd")[1])
    onnx.checker.check_model(exported, full_check=True)
    assert read_shapes(exported.graph.input) == {"image": ["batch", 3, 32, 32]}
    assert read_shapes(exported.graph.output) == {
        "embedding": ["batch", 24],
        "logits_yes": ["batch", 3],
        "logits_no": ["batch", 3],
        "score": ["batch"],
        "scores": ["batch", 6],
        "refusals": ["batch", 2],
        "decision": ["batch"],
    }


def test_banks_as_input_leave_the_number_of_classes_open(export):
    exported = onnx.load(export("learnable threshold input")[1])
    shapes = read_shapes(exported.graph.input)
    assert shapes["bank_yes"] == shapes["bank_no"] == ["classes", 24]
    assert read_shapes(exported.graph.output)["logits_yes"] == ["batch", "classes"]


def test_what_is_not_there_is_no_output(export):
    outputs = read_shapes(onnx.load(export("plain nothing")[1]).graph.output)
    assert list(outputs) == ["embedding", "logits_yes", "score", "scores"]


@pytest.mark.parametrize("name", ["learnable atd", "learnable threshold"])
@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
def test_the_decision_in_the_file_is_that_of_the_detector(export, pictures, name: str, runtime):
    if runtime == "openvino":
        pytest.importorskip("openvino", reason='OpenVINO is absent: pip install "clipn[openvino]"')
    detector, path = export(name)
    pixels = torch.stack([detector.preprocess(picture) for picture in pictures]).numpy()
    outputs = open_session(path, runtime=runtime).run({"image": pixels})
    answers = detector.predict(pictures)
    rows = [-1 if a.is_ood else detector.class_names.index(a.label) for a in answers]
    assert outputs["decision"].tolist() == rows
    np.testing.assert_allclose(outputs["score"], answers.scores, rtol=1e-4)


def test_the_file_says_what_it_is_and_names_no_file_of_this_machine(export):
    detector, path = export("learnable threshold")
    exported = onnx.load(path)
    metadata, _ = exported.metadata_props
    said = ExportMetadata.from_json(metadata.value, what="it")
    assert metadata.key == METADATA_KEY
    assert said.class_names == detector.class_names
    assert (said.score, said.rule, said.threshold) == ("msp", "threshold", 0.5)
    assert said.model_fingerprint == detector.model.fingerprint()
    assert said.detector_fingerprint == detector.fingerprint()
    assert said.preprocess == detector.model.source.preprocess
    assert not re.search(rb"\.py\W|site-packages", path.read_bytes())


def test_a_threshold_is_left_out_where_classes_are_an_input(export):
    exported = onnx.load(export("learnable threshold input")[1])
    metadata = ExportMetadata.from_json(exported.metadata_props[0].value, what="it")
    assert (metadata.rule, metadata.threshold, metadata.class_names) == (None, None, ())
    assert "decision" not in read_shapes(exported.graph.output)


@pytest.mark.parametrize("rule", ["ctw", "atd"])
def test_the_graph_decides_by_the_rule_that_was_asked_for(
    learnable_model: CLIPN, pictures, rule: str
):
    detector = Detector(learnable_model, ["cat", "espresso"], score="energy", rule=rule)
    pixels = torch.stack([detector.preprocess(picture) for picture in pictures])
    with torch.inference_mode():
        decisions = DetectorGraph(detector)(pixels).decision
    answers = detector.predict(pictures)
    rows = [-1 if a.is_ood else detector.class_names.index(a.label) for a in answers]
    assert decisions.tolist() == rows


def test_a_file_that_answers_otherwise_is_not_kept(
    export, learnable_model: CLIPN, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    detector, path = export("learnable atd")
    metadata = ExportMetadata.from_json(open_session(path).metadata, what="it")
    other = Detector(learnable_model, detector.class_names)
    other.model.visual.conv1.weight.data.mul_(1.5)
    with pytest.raises(ModelError, match="computes embedding otherwise than torch"):
        checking.check_export(path, DetectorGraph(other), metadata)
    out = tmp_path / "out.onnx"
    out.write_text("what was there")
    monkeypatch.setattr(checking, "TOLERANCE", 0.0)
    with pytest.raises(ModelError, match="It was not kept"):
        export_detector(detector, out)
    assert [file.name for file in tmp_path.iterdir()] == ["out.onnx"]
    assert out.read_text() == "what was there"


def test_only_detectors_on_the_cpu_are_exported(learnable_model: CLIPN, tmp_path: Path):
    detector = Detector(learnable_model, ["cat", "dog"])
    detector.model.to("meta")
    with pytest.raises(ValueError, match="on meta"):
        export_detector(detector, tmp_path / "a.onnx")
