"""The image tower of an exported file in 8 bits: its weights, and what flows into its products."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from clipn.errors import ModelError
from clipn.export.runtime import runtime_errors
from clipn.extras import import_extra
from clipn.files import naming

__all__ = ["quantize"]

# Where ONNX Runtime's tools do not find this, they advise on the root logger to do what is done.
_PREPARED = {"onnx.quant.pre_process": "onnxruntime.quant"}

# Of these the first input is what flows, the second the weights.
_PRODUCTS = ("Conv", "Gemm", "MatMul")


def quantize(exported: Any, inputs: Iterable[Mapping[str, np.ndarray]]) -> Any:
    """Turn an ONNX model that clipn traced into one whose image tower computes in int8.

    Every product and convolution of the tower with fixed weights gets them in int8, with a scale
    for each output channel, and its input in uint8, with one scale from the range of a calibration
    batch, the mean over all batches, which a single far value hardly moves. The file says so in QDQ
    form, which ONNX Runtime and OpenVINO turn into integer arithmetic. The projection to the
    embedding stays, since its rounding is the embedding's own and it costs next to nothing; so do
    attention between tokens, normalisation and all that follows the embedding.

    Args:
        exported: The model in float32.
        inputs: Batches to calibrate with: an array for each input of the model, by name.

    Returns:
        Another model, without the metadata of the first.

    Raises:
        ModelError: If ONNX Runtime cannot prepare the model.
        OSError: If the folder for temporary files cannot be written to, or has no room left.
    """
    onnx: Any = import_extra("onnx", extra="export")
    quantization: Any = import_extra("onnxruntime.quantization", extra="export")
    with TemporaryDirectory() as folder, naming(folder):
        whole, folded, quantized = (Path(folder) / f"{n}.onnx" for n in ("whole", "folded", "int8"))
        onnx.save(exported, whole)
        _fold_constants(whole, folded)
        model = onnx.load(folded)
        onnx.helper.set_model_props(model, _PREPARED)
        quantization.quantize_static(
            model,
            quantized,
            _Reader(iter(inputs)),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            weight_type=quantization.QuantType.QInt8,
            activation_type=quantization.QuantType.QUInt8,
            op_types_to_quantize=list(_PRODUCTS),
            nodes_to_quantize=_find_products(model.graph),
            extra_options={"CalibMovingAverage": True},
        )
        result = onnx.load(quantized)
    del result.metadata_props[:]
    return result


class _Reader:
    """Batches as ONNX Runtime's calibration asks for them."""

    def __init__(self, inputs: Iterator[Mapping[str, np.ndarray]]) -> None:
        self._inputs = inputs

    def get_next(self) -> Mapping[str, np.ndarray] | None:
        """The next batch; None after the last."""
        return next(self._inputs, None)


def _fold_constants(source: Path, target: Path) -> None:
    """Write a model with its constant parts computed, so that weights are what products take."""
    onnxruntime: Any = import_extra("onnxruntime", extra="export")
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(target)
    try:
        onnxruntime.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])
    except runtime_errors(onnxruntime) as error:
        raise ModelError(
            f"The model cannot be prepared for int8 in {target.parent}, perhaps for want of room "
            f"there: {error}"
        ) from error


def _find_products(graph: Any) -> list[str]:
    """The names of the image tower's products with weights, all but the projection at its end."""
    maker = {output: node for node in graph.node for output in node.output}
    weights = {weight.name for weight in graph.initializer}
    products: dict[str, bool] = {}
    waiting = ["embedding"]
    while waiting:
        node = maker.get(waiting.pop())
        if node is not None and node.name not in products:
            products[node.name] = node.op_type in _PRODUCTS and node.input[1] in weights
            waiting += node.input
    # The way leads back from the embedding, so the projection comes first.
    return [name for name, is_product in products.items() if is_product][1:]
