"""What runs an exported file: ONNX Runtime or OpenVINO, whichever is installed."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np

from clipn.errors import ModelError
from clipn.export.metadata import METADATA_KEY
from clipn.export.seal import check_seal
from clipn.extras import import_extra

__all__ = ["Runtime", "Session", "open_session", "runtime_errors"]

Runtime = Literal["onnx", "openvino"]
"""ONNX Runtime, or Intel's OpenVINO; both on the CPU."""


@runtime_checkable
class Session(Protocol):
    """An exported file that is ready to run; may be called from several threads."""

    @property
    def metadata(self) -> str | None:
        """The text that `clipn export` keeps in the file; None where there is none."""
        ...

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run it.

        Args:
            inputs: An array for each input of the file, by name.

        Returns:
            An array for each output, by name.

        Raises:
            ModelError: If the runtime cannot do what the file says.
        """
        ...


def open_session(
    path: Path, *, runtime: Runtime = "onnx", num_threads: int | None = None
) -> Session:
    """Open an exported file.

    Args:
        path: The file.
        runtime: What runs it.
        num_threads: Threads for one batch; all cores by default.

    Raises:
        ModelError: If there is no such file, it is damaged or not of `clipn export`, or the runtime
            is not installed.
        ValueError: If there is no such runtime, or `num_threads` is below 1.
    """
    if num_threads is not None and num_threads < 1:
        raise ValueError(f"num_threads must be at least 1; got {num_threads}.")
    if not path.is_file():
        raise ModelError(f"There is no file {str(path)!r}; clipn export writes one.")
    check_seal(path)
    if runtime == "onnx":
        return _OnnxRuntimeSession(path, num_threads)
    if runtime == "openvino":
        return _OpenVinoSession(path, num_threads)
    raise ValueError(f"runtime must be 'onnx' or 'openvino'; got {runtime!r}.")


class _OnnxRuntimeSession:
    """ONNX Runtime on the CPU."""

    def __init__(self, path: Path, num_threads: int | None) -> None:
        onnxruntime: Any = import_extra("onnxruntime", extra="export")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = num_threads or 0
        options.log_severity_level = 4  # what is to be said is raised below
        self._path, self._errors = path, runtime_errors(onnxruntime)
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"], enable_fallback=0
            )
            self._metadata = self._session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
        except self._errors as error:
            raise ModelError(f"{path} cannot be opened by ONNX Runtime: {error}") from error
        self._outputs = [output.name for output in self._session.get_outputs()]

    @property
    def metadata(self) -> str | None:
        """See `Session`."""
        return self._metadata

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """See `Session`."""
        try:
            values = self._session.run(None, dict(inputs))
        except self._errors as error:
            raise ModelError(f"{self._path} cannot be run by ONNX Runtime: {error}") from error
        return dict(zip(self._outputs, values, strict=True))


def runtime_errors(onnxruntime: Any) -> tuple[type[Exception], ...]:
    """What ONNX Runtime raises at a file; its errors share no class but Exception.

    That of decoding is raised at a message about a name that is no UTF-8.
    """
    state = onnxruntime.capi.onnxruntime_pybind11_state
    names = ("Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NotImplemented")
    return UnicodeDecodeError, *(getattr(state, name) for name in names)


@lru_cache(maxsize=1)
def _share_core(openvino: Any) -> Any:
    """The one OpenVINO core of this process, which is never let go.

    On Linux a core gives signal handlers a stack of its own. Where cores end in the order in which
    they began, the last puts back a stack that is gone, and the next signal, such as Ctrl-C, ends
    the process with a segmentation fault.
    """
    return openvino.Core()


class _OpenVinoSession:
    """OpenVINO on the CPU, in the precision that the file says.

    Left to itself it would compute in bfloat16 where the processor can, and answers would differ
    in the third digit.
    """

    def __init__(self, path: Path, num_threads: int | None) -> None:
        openvino: Any = import_extra("openvino", extra="openvino")
        core = _share_core(openvino)
        options: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": "f32",
            "PERFORMANCE_HINT": "LATENCY",
        }
        if num_threads is not None:
            options["INFERENCE_NUM_THREADS"] = num_threads
        try:
            self._graph = core.read_model(str(path))
            self._model = core.compile_model(self._graph, "CPU", options)
        except RuntimeError as error:
            raise ModelError(f"{path} cannot be opened by OpenVINO: {error}") from error

    @property
    def metadata(self) -> str | None:
        """See `Session`."""
        place = ["framework", METADATA_KEY]
        return self._graph.get_rt_info(place).value if self._graph.has_rt_info(place) else None

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """See `Session`."""
        request = self._model.create_infer_request()
        results = request.infer(dict(inputs))
        # Where it has merged nodes, an output goes by the names of all of them.
        named = {output: output.get_names() for output in self._model.outputs}
        return {name: np.array(results[one]) for one, names in named.items() for name in names}
