"""Answer over HTTP as `clipn detect` does, and with a web page."""

import logging
import sys
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from clipn.cli.inputs import check_device, read_class_names, read_lines
from clipn.cli.opening import SourceOptions, open_saved
from clipn.cli.printable import StderrHandler
from clipn.extras import not_installed
from clipn.serving.replica_options import ReplicaOptions
from clipn.serving.settings import TOKEN_VARIABLE, Settings, read_token

if TYPE_CHECKING:
    from clipn.serving.engine import Engine
    from clipn.serving.schemas import ClassSetContent


@dataclass(frozen=True, kw_only=True)
class Options(SourceOptions):
    """Options of `clipn serve`."""

    classes: str | None = None
    """The classes of requests that name none, separated by commas; or a file with one name a line.
    Without any, requests have to bring their own."""

    host: str = "127.0.0.1"
    """Address to listen at; 0.0.0.0 for all of this machine's."""

    port: int = 8000
    """Port to listen at; 0 takes a free one."""

    token_file: Path | None = None
    """A file with the token that clients have to send; by default the environment variable
    CLIPN_TOKEN, and without either anybody may ask."""

    log: Literal["requests", "problems"] = "problems"
    """Which requests get a line of JSON on stderr: all, or those that failed."""

    drain_seconds: float = 1.0
    """How long requests are still taken after SIGTERM."""

    limits: Settings = field(default_factory=Settings)
    """What a request may hold, and what may wait."""

    engine: Literal["local", "ray"] = "local"
    """One process, or replicas on a Ray cluster (needs clipn[ray])."""

    ray: ReplicaOptions = field(default_factory=ReplicaOptions)
    """With --engine ray: how many replicas, and what each takes and reserves."""


def run(options: Options) -> int:
    """Serve until a signal ends it; returns the exit code."""
    settings = replace(options.limits, token=read_token(options.token_file))
    if settings.token is None and options.host not in ("127.0.0.1", "localhost", "::1"):
        print(
            f"clipn serve: {options.host} can be reached by others, and nobody needs a token; set "
            f"{TOKEN_VARIABLE} or --token-file.",
            file=sys.stderr,
        )
    _start_log(options.log)
    if options.engine == "ray":
        return _run_replicas(options, settings)
    engine, class_sets = open_engine(options)
    from clipn.serving.app import create_app
    from clipn.serving.server import Server

    def tell(address: str) -> None:
        """Say where, once somebody can ask."""
        print(f"clipn serves {engine.info.name} at {address} (Ctrl+C ends it)", flush=True)

    server = Server(
        create_app(engine, settings=settings, class_sets=class_sets),
        host=options.host,
        port=options.port,
        drain_seconds=options.drain_seconds,
        on_ready=tell,
    )
    server.run()
    return 0 if server.started else 1


def _run_replicas(options: Options, settings: Settings) -> int:
    """Serve on a Ray cluster; each replica opens the engine for itself."""
    if options.port == 0:
        raise ValueError("--port 0 takes a free port of one process; name one for --engine ray.")
    try:
        from clipn.serving.ray_serve import run_replicas
    except ImportError as error:
        raise not_installed(error, extra="ray") from error

    def tell(address: str) -> None:
        """Say where, once somebody can ask."""
        print(f"clipn serves {options.ray.replicas} replicas at {address}", flush=True)

    run_replicas(
        partial(open_engine, options),
        settings=settings,
        options=options.ray,
        host=options.host,
        port=options.port,
        on_ready=tell,
    )
    return 0


def _start_log(which: Literal["requests", "problems"]) -> None:
    """Lines of JSON on stderr."""
    from clipn.serving.envelope import JsonLines

    handler = StderrHandler()
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    level = logging.INFO if which == "requests" else logging.ERROR
    logging.getLogger("clipn.serving.requests").setLevel(level)


def open_engine(options: Options) -> "tuple[Engine, dict[str, ClassSetContent]]":
    """Open the engine that the options mean, and the class sets that they bring.

    Raises:
        ClipnError: If model, detector or file cannot be read.
        ValueError: If options do not fit each other.
    """
    detector = open_saved(options)
    if detector is None:
        return _open_model(options)
    # Imported here because each kind takes a library that the other can do without.
    from clipn.export.onnx_detector import OnnxDetector

    if isinstance(detector, OnnxDetector):
        from clipn.serving.onnx_engine import OnnxEngine

        engine = OnnxEngine(detector, name=detector.path.name)
        return engine, {"default": engine.class_set}
    from clipn.serving.torch_engine import TorchEngine, describe_detector

    engine = TorchEngine.from_detector(detector, name=str(options.detector))
    return engine, {"default": describe_detector(detector)}


def _open_model(options: Options) -> "tuple[Engine, dict[str, ClassSetContent]]":
    """A model, with or without classes from the command line."""
    from clipn.model import load_model
    from clipn.model.bank_cache import cached_class_bank
    from clipn.serving.schemas import ClassSetContent
    from clipn.serving.torch_engine import TorchEngine

    model = load_model(options.model, device=check_device(options.device))
    templates = read_lines(options.templates) if options.templates else None
    bank, class_sets = None, {}
    if options.classes is not None:
        names = read_class_names(options.classes)
        bank = cached_class_bank(model, names, templates=templates)
        class_sets["default"] = ClassSetContent(
            classes=list(bank.names), score=None, rule=None, threshold=None
        )
    engine = TorchEngine(
        model,
        name=options.model,
        score=options.score,
        templates=templates,
        bank=bank,
        decoding=options.decoding,
    )
    return engine, class_sets
