"""Writes a detector as an ONNX file, and compares the file with the detector before it is there."""

import logging
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from clipn.calibration import calibration_to_json
from clipn.data.image_batches import load_batches
from clipn.data.images import ImageSource
from clipn.detector import Detector
from clipn.errors import DataError, ModelError
from clipn.export.checking import check_export, measure_agreement
from clipn.export.graph import DetectorGraph
from clipn.export.metadata import METADATA_KEY, Banks, ExportMetadata, Precision
from clipn.export.quantizing import quantize
from clipn.export.seal import make_seal
from clipn.extras import import_extra
from clipn.files import write_aside

__all__ = ["export_detector"]

MAX_BYTES = 2**31 - 1  # of a protocol buffer, which an ONNX file is


def export_detector(
    detector: Detector,
    path: str | Path,
    *,
    banks: Banks = "constant",
    precision: Precision = "float32",
    calibration_images: Iterable[ImageSource] = (),
) -> ExportMetadata:
    """Write a detector as one ONNX file, which ONNX Runtime and OpenVINO run without torch.

    Input: `image`, float32 (batch, 3, height, width), preprocessed as the metadata say. Outputs:
    `embedding` (batch, dim), `logits_yes` and `logits_no` (batch, classes), all float32; `score`
    (batch) and `scores` (batch, scores), float64; `refusals` (batch, rules), bool; `decision`
    (batch), int64: the row of the class, or -1 for "none of these". A plain CLIP has no
    `logits_no` and `refusals`; a detector that is not calibrated and has no rule, no `decision`.

    The file is put in place only after it has given the detector's own answers; in int8, only after
    its embeddings have come close to the detector's (see `clipn.export.checking`).

    Args:
        detector: On the CPU.
        path: The file to make or replace.
        banks: "constant" keeps the class names' embeddings in the file. "input" makes them inputs,
            `bank_yes` and `bank_no` (classes, dim), so that one file serves any classes; a
            threshold, which belongs to certain classes, is then left out with `decision`.
        precision: "int8" has the image tower compute in 8 bits: a quarter of the size, and several
            times as fast where the processor has instructions for it.
        calibration_images: For "int8", a hundred or more: images such as it will see, and none that
            anything is measured on.

    Returns:
        What the file says about itself.

    Raises:
        ModelError: If the export packages are not installed, the file would be larger than 2 GB, or
            its answers differ from the detector's.
        ValueError: If the detector is not on the CPU, or "int8" gets no images.
        DataError: If an image cannot be read.
    """
    if detector.model.device.type != "cpu":
        raise ValueError(
            f"Export a detector on the CPU; this one is on {detector.model.device}: load it with "
            'device="cpu".'
        )
    import_extra("onnx", extra="export")
    graph = DetectorGraph(detector)
    if banks == "input" and graph.rule == "threshold":
        graph.rule, graph.threshold = None, None
    metadata = _describe(detector, graph, banks, precision)
    batches = _read_batches(detector, calibration_images) if precision == "int8" else []
    exported = _trace(graph, image_size=detector.image_size, banks=banks)
    if precision == "int8":
        inputs = graph.bank_inputs(banks)
        exported = quantize(exported, [{"image": rows, **inputs} for rows in batches])
    with write_aside(Path(path)) as aside:
        _save(exported, metadata, aside)
        if precision == "float32":
            check_export(aside, graph, metadata)
            return metadata
        agreement = measure_agreement(aside, graph, metadata, batches)
        metadata = replace(metadata, agreement=agreement)
        _save(exported, metadata, aside)
    return metadata


def _read_batches(
    detector: Detector, images: Iterable[ImageSource]
) -> list[Float[np.ndarray, "batch 3 height width"]]:
    """The preprocessed calibration images."""
    batches: list[np.ndarray] = []
    for batch in load_batches(images, detector.preprocess, batch_size=16):
        if batch.errors:
            raise DataError(next(iter(batch.errors.values())))
        assert batch.pixels is not None
        batches.append(batch.pixels.numpy())
    if not batches:
        raise ValueError("int8 needs images to calibrate with, a hundred or more; got none.")
    return batches


def _save(exported: Any, metadata: ExportMetadata, path: Path) -> None:
    """Write an ONNX model with its metadata and its seal."""
    onnx: Any = import_extra("onnx", extra="export")
    exported.producer_name, exported.producer_version = "clipn", version("clipn")
    onnx.helper.set_model_props(exported, {METADATA_KEY: metadata.to_json()})
    onnx.save(exported, path)
    seal = make_seal(path)
    with path.open("ab") as file:
        file.write(seal)


def _describe(
    detector: Detector, graph: DetectorGraph, banks: Banks, precision: Precision
) -> ExportMetadata:
    """What the file is to say about itself."""
    model = detector.model
    return ExportMetadata(
        package_version=version("clipn"),
        class_names=detector.class_names if banks == "constant" else (),
        templates=detector.bank.templates,
        score=graph.score_name,
        scores=tuple(score.name for score in graph.scores),
        rules=tuple(score.name for score in graph.rules),
        rule=graph.rule,
        threshold=graph.threshold,
        banks=banks,
        precision=precision,
        preprocess=model.source.preprocess,
        tau=model.tau,
        embedding_dim=detector.bank.yes.shape[1],
        has_no=detector.bank.no is not None,
        model=model.reference or model.source.name,
        model_fingerprint=model.fingerprint(),
        detector_fingerprint=detector.fingerprint(),
        calibration=calibration_to_json(detector.calibration) if banks == "constant" else None,
        image_fingerprint=model.fingerprint("image") if precision == "float32" else None,
    )


def _trace(graph: DetectorGraph, *, image_size: tuple[int, int], banks: Banks) -> Any:
    """The graph as an ONNX model, with any number of images and, as input, of classes."""
    import_extra("onnxscript", extra="export")
    batch, classes = torch.export.Dim("batch", min=1), torch.export.Dim("classes", min=1)
    inputs = {"image": torch.zeros(2, 3, *image_size)}
    dynamic: dict[str, Any] = {"image": {0: batch}}
    for name, rows in graph.bank_inputs(banks).items():
        inputs[name], dynamic[name] = torch.zeros(3, rows.shape[1]), {0: classes}
    with _quiet(), torch.no_grad():
        names = [name for name, value in graph(**inputs)._asdict().items() if value is not None]
        program = torch.onnx.export(
            graph.eval(),
            kwargs=inputs,
            input_names=list(inputs),
            output_names=names,
            dynamic_shapes=dynamic,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    size = sum(value.nbytes for value in graph.state_dict().values())
    if size > MAX_BYTES:
        raise ModelError(f"The image tower has {size / 1e9:.1f} GB; an ONNX file holds 2 at most.")
    return _without_traces(program.model_proto)


def _without_traces(exported: Any) -> Any:
    """The model without the names and lines of the source files that it was traced from."""
    exported.graph.ClearField("metadata_props")
    for part in (
        *exported.graph.node,
        *exported.graph.input,
        *exported.graph.output,
        *exported.graph.value_info,
        *exported.graph.initializer,
    ):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    return exported


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what the exporter warns of and logs to itself: nothing that a user could act on."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
