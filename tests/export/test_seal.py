"""The checksum at the end of an exported file."""

import random
from pathlib import Path

import onnx
import onnxruntime
import pytest

from clipn.errors import ModelError
from clipn.export.onnx_detector import OnnxDetector
from clipn.export.seal import check_seal, make_seal


def test_other_programs_read_the_file_and_find_the_checksum_among_its_metadata(export):
    path = export("learnable atd")[1]
    onnx.checker.check_model(path, full_check=True)
    _, seal = onnx.load(path).metadata_props
    content = path.read_bytes()
    (path.parent / "unsealed.onnx").write_bytes(content[: -len(make_seal(path))])
    assert seal.key == "clipn_crc32"
    assert make_seal(path.parent / "unsealed.onnx").decode().endswith(seal.value)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert "clipn_crc32" in session.get_modelmeta().custom_metadata_map


def test_a_bit_turned_over_anywhere_is_noticed(export, tmp_path: Path):
    content = export("learnable atd")[1].read_bytes()
    draw, path = random.Random(0), tmp_path / "damaged.onnx"
    places = [draw.randrange(8 * len(content)) for _ in range(50)]
    for place in [*places, *range(8 * len(content) - 280, 8 * len(content), 8)]:
        damaged = bytearray(content)
        damaged[place // 8] ^= 1 << place % 8
        path.write_bytes(damaged)
        with pytest.raises(ModelError, match=r"damaged\.onnx"):
            check_seal(path)


def test_what_was_changed_later_is_told_from_what_is_none(export, tmp_path: Path):
    content = export("learnable atd")[1].read_bytes()
    (tmp_path / "changed.onnx").write_bytes(b"\x12\x05other" + content)
    (tmp_path / "empty.onnx").touch()
    with pytest.raises(ModelError, match="was changed since clipn export wrote it"):
        OnnxDetector(tmp_path / "changed.onnx")
    with pytest.raises(ModelError, match="was not written by clipn export"):
        OnnxDetector(tmp_path / "empty.onnx")
