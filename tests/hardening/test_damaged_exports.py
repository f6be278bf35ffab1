"""What commands and the service make of an exported file with one bit turned over."""

from pathlib import Path

import numpy as np
import pytest
from exchange_targets import exported_file
from specimens import draw_picture

from clipn.cli.main import run
from clipn.errors import ModelError
from clipn.export.onnx_detector import OnnxDetector


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    content = bytearray(exported_file())
    content[len(content) // 2] ^= 1
    (tmp_path / "damaged.onnx").write_bytes(content)
    return tmp_path / "damaged.onnx"


@pytest.mark.parametrize("command", ["detect", "serve"])
def test_a_damaged_file_is_refused_in_one_line(
    command: str, damaged: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    draw_picture().save(tmp_path / "a.png")
    images = [str(tmp_path / "a.png")] if command == "detect" else []
    assert run([command, *images, "--detector", str(damaged)]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert "damaged.onnx is damaged, or was changed since" in said.err


def test_what_cannot_be_run_is_a_known_error(tmp_path: Path):
    (tmp_path / "whole.onnx").write_bytes(exported_file())
    detector = OnnxDetector(tmp_path / "whole.onnx")
    with pytest.raises(ModelError, match=r"whole\.onnx cannot be run by ONNX Runtime"):
        detector.run(np.zeros((1, 3, 5, 5), np.float32))
