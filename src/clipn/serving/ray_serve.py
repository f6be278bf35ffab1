"""The application in several replicas, under Ray Serve."""

import logging
import signal
import threading
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import ray
from fastapi import FastAPI
from ray import serve
from ray.serve.config import HTTPOptions
from starlette.types import Receive, Scope, Send

from clipn.serving.app import create_app
from clipn.serving.engine import Engine
from clipn.serving.replica_options import ReplicaOptions
from clipn.serving.schemas import ClassSetContent
from clipn.serving.settings import Settings
from clipn.serving.shared_class_sets import ClassSetBoard, FollowBoard, SharedClassSets

__all__ = ["NAME", "OpenEngine", "run_replicas", "start_replicas"]

NAME = "clipn"
"""What Ray Serve calls the application and its deployment."""

OpenEngine: TypeAlias = Callable[[], tuple[Engine, Mapping[str, ClassSetContent]]]
"""Opens an engine, and the class sets that come with it, in each replica."""


def start_replicas(
    open_engine: OpenEngine,
    *,
    settings: Settings,
    options: ReplicaOptions,
    host: str = "127.0.0.1",
    port: int = 8000,
) -> str:
    """Start the application on the cluster that this program has joined, and wait until it answers.

    Class sets that clients put are told to all replicas: an answer that begins after the one to a
    PUT knows the new version, whichever replica gives it.

    Args:
        open_engine: Opens the engine; called in each replica, so it must be picklable.
        settings: Limits and queues of each replica, and the token.
        options: How many replicas.
        host: Address to listen at.
        port: Port to listen at.

    Returns:
        The address.
    """
    serve.start(http_options=HTTPOptions(host=host, port=port))
    board = ray.remote(ClassSetBoard).options(num_cpus=0, max_restarts=-1).remote()

    deploy = serve.deployment(
        name=NAME,
        num_replicas=options.replicas,
        max_ongoing_requests=options.ongoing_requests,
        max_queued_requests=options.queued_requests,
        graceful_shutdown_timeout_s=settings.deadline_seconds,
        ray_actor_options={"num_cpus": options.cpus, "num_gpus": options.gpus},
    )
    serve.run(
        deploy(serve.ingress(_ReplicaApp(open_engine, settings, board))()).bind(),
        name=NAME,
        route_prefix="/",
    )
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


def run_replicas(
    open_engine: OpenEngine,
    *,
    settings: Settings,
    options: ReplicaOptions,
    host: str = "127.0.0.1",
    port: int = 8000,
    on_ready: Callable[[str], None] = lambda _: None,
) -> None:
    """Serve until SIGTERM or SIGINT; see `start_replicas`.

    Args:
        open_engine: See there.
        settings: See there.
        options: See there.
        host: See there.
        port: See there.
        on_ready: Called with the address once requests are taken.
    """
    ray.init(
        address=options.address,
        include_dashboard=False if options.address is None else None,
        logging_level=logging.WARNING,
    )
    is_over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: is_over.set())
    try:
        on_ready(
            start_replicas(open_engine, settings=settings, options=options, host=host, port=port)
        )
        is_over.wait()
    finally:
        serve.shutdown()
        ray.shutdown()


class _ReplicaApp:
    """The application of a replica, which is built where it runs."""

    def __init__(self, open_engine: OpenEngine, settings: Settings, board: Any) -> None:
        self._open_engine, self._settings, self._board = open_engine, settings, board
        self._app: FastAPI | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer; the first call comes from the replica's start."""
        if self._app is None:
            self._app = self._build()
        await self._app(scope, receive, send)

    def _build(self) -> FastAPI:
        """The application, its class sets following the board."""
        engine, class_sets = self._open_engine()
        app = create_app(engine, settings=self._settings, class_sets=class_sets)
        service = app.state.service
        service.class_sets = SharedClassSets(self._board, service.banks, self._settings)
        app.add_middleware(FollowBoard, class_sets=service.class_sets)
        return app
