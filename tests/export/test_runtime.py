"""Files that cannot be run, and packages that are not there."""

import gc
import signal
import sys
from pathlib import Path

import onnx
import pytest

from clipn.errors import ModelError
from clipn.export.metadata import ExportMetadata
from clipn.export.onnx_detector import OnnxDetector
from clipn.export.runtime import open_session
from clipn.export.seal import make_seal


@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
def test_missing_damaged_and_foreign_files_are_known_errors(export, runtime: str, tmp_path: Path):
    if runtime == "openvino":
        pytest.importorskip("openvino", reason='OpenVINO is absent: pip install "clipn[openvino]"')
    whole = export("learnable atd")[1]
    with pytest.raises(ModelError, match="There is no file"):
        OnnxDetector(tmp_path / "none.onnx", runtime=runtime)
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.raises(ModelError, match=r"damaged\.onnx was not written .* or is cut short"):
        OnnxDetector(damaged, runtime=runtime)
    foreign = onnx.load(whole)
    del foreign.metadata_props[:]
    onnx.save(foreign, tmp_path / "foreign.onnx")
    with pytest.raises(ModelError, match=r"foreign\.onnx was not written by clipn export"):
        OnnxDetector(tmp_path / "foreign.onnx", runtime=runtime)
    sealed = tmp_path / "sealed.onnx"
    sealed.write_bytes(b"no model")
    sealed.write_bytes(sealed.read_bytes() + make_seal(sealed))
    with pytest.raises(ModelError, match=r"sealed\.onnx cannot be opened by"):
        OnnxDetector(sealed, runtime=runtime)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "was not written by clipn export"),
        ("{", "damaged metadata"),
        ("[]", "damaged metadata"),
        ("{}", "format version None; this clipn reads version 1"),
        ('{"format_version": 1}', "damaged metadata: .*missing"),
        ('{"format_version": 2}', "format version 2"),
    ],
)
def test_damaged_metadata_are_known_errors(text: str | None, reason: str):
    with pytest.raises(ModelError, match=reason):
        ExportMetadata.from_json(text, what="a.onnx")


@pytest.mark.parametrize(
    ("module", "runtime", "extra"),
    [("onnxruntime", "onnx", "export"), ("openvino", "openvino", "openvino")],
)
def test_a_runtime_that_is_not_installed_is_named_with_its_extra(
    export, monkeypatch: pytest.MonkeyPatch, module: str, runtime: str, extra: str
):
    path = export("learnable atd")[1]
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ModelError, match=rf'{module} is not installed.*"clipn\[{extra}\]"'):
        OnnxDetector(path, runtime=runtime)


def test_signals_are_handled_after_files_were_closed_in_the_order_of_their_opening(export):
    pytest.importorskip("openvino", reason='OpenVINO is absent: pip install "clipn[openvino]"')
    path = export("learnable atd")[1]
    sessions = [open_session(path, runtime="openvino") for _ in range(2)]
    while sessions:
        del sessions[0]
        gc.collect()
    came: list[int] = []
    former = signal.signal(signal.SIGUSR1, lambda number, _: came.append(number))
    try:
        signal.raise_signal(signal.SIGUSR1)  # ends the process where its stack is gone
    finally:
        signal.signal(signal.SIGUSR1, former)
    assert came == [signal.SIGUSR1]
