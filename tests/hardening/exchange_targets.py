"""Files that clipn exchanges with other programs: exported detectors and reference checkpoints."""

import json
import tempfile
import zipfile
from functools import cache
from pathlib import Path

import specimens
import torch
from own_targets import NAMES, TINY, digest_model, tiny_model
from targets import Target, digest

from clipn.detector import Detector
from clipn.errors import ClipnError
from clipn.export.onnx_detector import OnnxDetector
from clipn.export.seal import make_seal
from clipn.export.writing import export_detector
from clipn.model import CLIPN, build_base, import_reference_checkpoint
from clipn.model.reference import _reference_name

FEW_TOKENS = {**TINY, "text_cfg": {**TINY["text_cfg"], "vocab_size": 20, "context_length": 9}}


@cache
def exported_file() -> bytes:
    """An exported detector; made once, as it takes seconds."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "detector.onnx"
        export_detector(Detector(tiny_model(), NAMES), path)
        return path.read_bytes()


def _write_exported(folder: Path) -> list[Path]:
    (folder / "detector.onnx").write_bytes(exported_file())
    return [folder / "detector.onnx"]


def _read_exported(_: Path, path: Path) -> str:
    detector = OnnxDetector(path, num_threads=1)
    return digest(detector.predict([specimens.draw_picture()]).items, detector.metadata)


@cache
def _open_file() -> bytes:
    """An exported detector that takes its classes as input."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "detector.onnx"
        export_detector(Detector(tiny_model(), NAMES), path, banks="input")
        return path.read_bytes()


def _write_classes(folder: Path) -> list[Path]:
    (folder / "detector.onnx").write_bytes(_open_file())
    detector = Detector(tiny_model(), NAMES, score="max_logit")
    pictures = [specimens.draw_picture(shift=shift) for shift in range(8)]
    detector.calibrate(pictures, method="conformal", alpha=0.5)
    detector.save(folder / "classes")
    return sorted((folder / "classes").glob("*.*"))


def _read_classes(folder: Path, _: Path) -> str:
    detector = OnnxDetector(folder / "detector.onnx", classes=folder / "classes", num_threads=1)
    answers = detector.predict([specimens.draw_picture()])
    return digest(answers.items, detector.class_names)


def _write_unsealed(folder: Path) -> list[Path]:
    [path] = _write_exported(folder)
    path.write_bytes(exported_file()[: -len(make_seal(path))])
    return [path]


def _read_unsealed(folder: Path, path: Path) -> str:
    """What the checksum covers is damaged, as if somebody had written the file with it."""
    path.write_bytes(path.read_bytes() + make_seal(path))
    return _read_exported(folder, path)


def _reference_state() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    model = CLIPN(build_base(FEW_TOKENS, name="tiny"))
    model.add_no_tower(variant="learnable", num_prompts=2)
    state = model.state_dict()
    return {f"module.{_reference_name(name)}": tensor for name, tensor in state.items()}


def _write_reference(folder: Path, *, is_packed: bool = True) -> list[Path]:
    (folder / "tiny.json").write_text(json.dumps(FEW_TOKENS))
    content, path = {"epoch": 1, "state_dict": _reference_state()}, folder / "epoch_1.pt"
    torch.save(content, path, _use_new_zipfile_serialization=is_packed)
    return [path]


def _read_reference(folder: Path, _: Path) -> str:
    return digest_model(import_reference_checkpoint(folder / "epoch_1.pt", folder / "tiny.json"))


def _write_unpacked(folder: Path) -> list[Path]:
    [packed] = _write_reference(folder)
    with zipfile.ZipFile(packed) as archive:
        archive.extractall(folder / "unpacked")
    packed.unlink()
    paths = sorted(path for path in (folder / "unpacked").rglob("*") if path.is_file())
    # Most of them hold weights; what says how to read those is damaged as often.
    pickled = [path for path in paths if path.name == "data.pkl"]
    return pickled * len(paths) + paths + [folder / "tiny.json"] * 9


def _read_repacked(folder: Path, path: Path) -> str:
    """A member is damaged, and has a checksum as if somebody had written it so."""
    root = folder / "unpacked"
    with zipfile.ZipFile(folder / "epoch_1.pt", "w") as archive:
        for member in sorted(member for member in root.rglob("*") if member.is_file()):
            archive.write(member, member.relative_to(root))
    return _read_reference(folder, path)


EXCHANGE_TARGETS = (
    Target(name="exported files", write=_write_exported, read=_read_exported, is_sealed=True),
    Target(name="exported files, sealed anew", write=_write_unsealed, read=_read_unsealed),
    Target(
        name="classes of exported files",
        write=_write_classes,
        read=_read_classes,
        refusals=(ClipnError, ValueError),  # a score that the file has not may have been asked for
    ),
    Target(
        name="reference checkpoints", write=_write_reference, read=_read_reference, is_sealed=True
    ),
    Target(name="reference checkpoints, packed anew", write=_write_unpacked, read=_read_repacked),
    Target(
        name="reference checkpoints of old",
        write=lambda folder: _write_reference(folder, is_packed=False),
        read=_read_reference,
    ),
)
"""What comes from clipn or the paper's implementation, and may be read by others."""
