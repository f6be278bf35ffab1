"""Files whose image tower computes in int8."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

from clipn.detector import Detector
from clipn.errors import DataError, ModelError
from clipn.export import checking, quantizing
from clipn.export.onnx_detector import OnnxDetector
from clipn.export.runtime import open_session
from clipn.export.writing import export_detector
from clipn.model import CLIPN

NAMES = ["cat", "espresso", "school bus"]


@pytest.fixture(scope="module")
def quantized(
    _tiny_models: dict[str, CLIPN],
    pictures: list[Image.Image],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Detector, Path]:
    detector = Detector(_tiny_models["learnable"], NAMES)
    path = tmp_path_factory.mktemp("int8") / "detector.onnx"
    export_detector(detector, path, banks="input", precision="int8", calibration_images=pictures)
    return detector, path


@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
def test_embeddings_come_close_to_those_in_float32(quantized, pictures, runtime: str):
    if runtime == "openvino":
        pytest.importorskip("openvino", reason='OpenVINO is absent: pip install "clipn[openvino]"')
    detector, path = quantized
    pixels = torch.stack([detector.preprocess(picture) for picture in pictures])
    with torch.inference_mode():
        expected = detector.model.encode_image(pixels).numpy()
    banks = {"bank_yes": detector.bank.yes.numpy(), "bank_no": detector.bank.no.numpy()}
    found = open_session(path, runtime=runtime).run({"image": pixels.numpy(), **banks})
    cosines = (found["embedding"] * expected).sum(axis=1)
    assert cosines.min() > 0.99
    assert cosines.max() < 1 - 1e-7  # not float32 after all
    np.testing.assert_allclose(
        found["logits_yes"],
        detector.model.tau * found["embedding"] @ banks["bank_yes"].T,
        rtol=1e-4,
    )


def test_every_product_with_weights_but_the_projection_is_quantized(quantized):
    graph = onnx.load(quantized[1]).graph
    maker = {output: node for node in graph.node for output in node.output}
    by_weights = {True: 0, False: 0}
    for node in graph.node:
        if node.op_type in ("Conv", "Gemm", "MatMul"):
            kinds = {maker[name].op_type for name in node.input[:2] if name in maker}
            by_weights[kinds == {"DequantizeLinear"}] += 1
    # patches, and four products in each of two blocks; then each block's attention, the projection
    # and the two banks
    assert by_weights == {True: 1 + 2 * 4, False: 2 * 2 + 1 + 2}


def test_the_file_says_how_close_it_comes(quantized, tmp_path: Path):
    detector, path = quantized
    detector.save(tmp_path)
    metadata = OnnxDetector(path, classes=tmp_path).metadata
    assert metadata.precision == "int8"
    assert 0.99 < metadata.agreement < 1
    assert metadata.model_fingerprint == detector.model.fingerprint()


def test_a_tower_that_does_not_bear_int8_is_refused(
    learnable_model: CLIPN, pictures, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setattr(checking, "MIN_AGREEMENT", 1.5)
    detector = Detector(learnable_model, NAMES)
    with pytest.raises(ModelError, match="does not bear int8: the mean cosine"):
        export_detector(
            detector, tmp_path / "a.onnx", precision="int8", calibration_images=pictures[:1]
        )
    assert list(tmp_path.iterdir()) == []


def test_int8_needs_readable_images(learnable_model: CLIPN, tmp_path: Path):
    detector = Detector(learnable_model, NAMES)
    with pytest.raises(ValueError, match="a hundred or more; got none"):
        export_detector(detector, tmp_path / "a.onnx", precision="int8")
    with pytest.raises(DataError, match="cannot be read as an image"):
        export_detector(
            detector, tmp_path / "a.onnx", precision="int8", calibration_images=[b"no image"]
        )


def test_a_full_folder_for_temporary_files_is_named(
    quantized, tmp_path: Path, limit_file_size: Callable[[int], AbstractContextManager[None]]
):
    whole = tmp_path / "whole.onnx"
    whole.write_bytes(quantized[1].read_bytes())
    with limit_file_size(100), pytest.raises(ModelError, match=rf"in {tmp_path}, perhaps for want"):
        quantizing._fold_constants(whole, tmp_path / "folded.onnx")
