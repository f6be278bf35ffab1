"""The detector of a run, kept in its output folder for the workers: a folder, or an exported file.

OUT/_clipn/detector/                what `Detector.save` writes, or
OUT/_clipn/detector/detector.onnx   the exported file,
                    classes/        the folder that its classes are from, where it brings none,
                    decision.json   what runs it, and what decides
"""

import shutil
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipn.batch.store import Store
from clipn.calibration import (
    calibration_from_json,
    calibration_to_json,
    threshold_from_json,
    threshold_to_json,
)
from clipn.detector_folder import BANKS, CONFIG
from clipn.errors import DataError
from clipn.export.onnx_detector import OnnxDetector
from clipn.files import read_json, write_aside, write_json
from clipn.image_detector import ImageDetector

if TYPE_CHECKING:
    from clipn.detector import Detector

__all__ = ["DETECTOR", "as_torch", "identify", "load_detector", "save_detector"]

DETECTOR = "_clipn/detector"
FILE, CLASSES, DECISION = "detector.onnx", "classes", "decision.json"


def identify(detector: ImageDetector) -> dict[str, Any]:
    """What tells a detector from others, as plain JSON.

    Returns:
        `image_fingerprint` is None for a file whose embeddings are those of no model.
    """
    if isinstance(detector, OnnxDetector):
        metadata = detector.metadata
        model, image = metadata.model_fingerprint, metadata.image_fingerprint
        runtime, dim = detector.runtime, metadata.embedding_dim
    else:
        own = as_torch(detector)
        model, image = own.model.fingerprint(), own.model.fingerprint("image")
        runtime, dim = "torch", own.bank.yes.shape[1]
    return {
        "runtime": runtime,
        "model_fingerprint": model,
        "image_fingerprint": image,
        "detector_fingerprint": detector.fingerprint(),
        "embedding_dim": dim,
    }


def as_torch(detector: ImageDetector) -> "Detector":
    """The detector, known to run on torch.

    Raises:
        TypeError: If it is of another kind.
    """
    # Imported here because exported files need no torch.
    from clipn.detector import Detector

    if not isinstance(detector, Detector):
        raise TypeError(
            f"A batch takes a Detector or an OnnxDetector; got a {type(detector).__name__}."
        )
    return detector


def save_detector(store: Store, detector: ImageDetector) -> None:
    """Keep a detector in an output folder, wherever that is."""
    if store.is_local:
        _save(detector, Path(store.path(DETECTOR)))
        return
    with tempfile.TemporaryDirectory() as folder:
        _save(detector, Path(folder))
        store.fs.put(folder, store.path(DETECTOR), recursive=True)


def _save(detector: ImageDetector, folder: Path) -> None:
    if not isinstance(detector, OnnxDetector):
        as_torch(detector).save(folder)
        return
    copies = {detector.path: folder / FILE}
    if detector.classes is not None:
        names = (CONFIG, BANKS)
        copies |= {detector.classes / name: folder / CLASSES / name for name in names}
    for source, target in copies.items():
        with write_aside(target) as aside:
            shutil.copyfile(source, aside)
    write_json(
        folder / DECISION,
        {
            "runtime": detector.runtime,
            "score": detector.score_name,
            "rule": detector.rule,
            "threshold": threshold_to_json(detector.threshold),
            "calibration": calibration_to_json(detector.calibration),
        },
    )


def load_detector(
    store: Store, identity: Mapping[str, Any], *, device: str, num_threads: int | None
) -> ImageDetector:
    """The detector in an output folder, wherever that is.

    Args:
        store: The output folder.
        identity: Of the run's plan: how images are decoded, and which detector it must be.
        device: Where a model goes; exported files run on the CPU.
        num_threads: Threads that it computes with; None leaves its own choice.

    Raises:
        ClipnError: If it is damaged, or another one.
    """
    with ExitStack() as stack:
        folder = Path(store.path(DETECTOR))
        if not store.is_local:
            fetched = stack.enter_context(tempfile.TemporaryDirectory())
            store.fs.get(store.path(DETECTOR), fetched, recursive=True)
            folder = Path(fetched) / "detector"
        detector = _load(folder, device, num_threads)
        detector.decoding = identity["decoding"]
        if detector.fingerprint() != identity["detector_fingerprint"]:
            raise DataError(
                f"{store.path(DETECTOR)} is not the detector that the run was planned with: it is "
                "damaged or was changed. Start over (existing='replace')."
            )
    return detector


def _load(folder: Path, device: str, num_threads: int | None) -> ImageDetector:
    if (folder / FILE).exists():
        return _load_file(folder, num_threads)
    import torch

    from clipn.detector import Detector

    if num_threads is not None:
        torch.set_num_threads(num_threads)
    return Detector.load(folder, device=device)


def _load_file(folder: Path, num_threads: int | None) -> OnnxDetector:
    """An exported file, which decides as it did when it was kept."""
    try:
        decision = read_json(folder / DECISION)
        detector = OnnxDetector(
            folder / FILE,
            classes=folder / CLASSES if (folder / CLASSES).is_dir() else None,
            score=decision["score"],
            runtime=decision["runtime"],
            num_threads=num_threads,
        )
        detector.rule = decision["rule"]
        detector.threshold = threshold_from_json(decision["threshold"])
        calibration = decision["calibration"]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{folder / DECISION} cannot be read: {error!r}") from error
    num_classes = len(detector.class_names)
    detector.calibration = calibration_from_json(
        calibration, num_classes=num_classes, what=str(folder)
    )
    return detector
