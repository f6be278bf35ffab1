"""The real application with the compact model, served over HTTP on a free port."""

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
from fastapi import FastAPI

from clipn.model import CLIPN
from clipn.serving.app import create_app
from clipn.serving.server import Server
from clipn.serving.settings import Settings
from clipn.serving.torch_engine import TorchEngine


@contextmanager
def serve_app(app: FastAPI) -> Iterator[str]:
    """Serve an application in a thread; gives its address."""
    addresses: queue.Queue[str] = queue.Queue()
    server = Server(app, port=0, on_ready=addresses.put)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield addresses.get(timeout=60)
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="session")
def make_app(compact_model: CLIPN) -> Callable[..., FastAPI]:
    """Makes the application with the compact model; takes what is set differently."""
    engine = TorchEngine(compact_model)
    return lambda **options: create_app(engine, settings=Settings(**options))


@pytest.fixture(scope="session")
def serve(make_app: Callable[..., FastAPI]) -> Callable[..., AbstractContextManager[str]]:
    """Serves it, `behind` some middleware if wanted; gives its address."""

    def serve(*, behind: Any = None, **options: Any) -> AbstractContextManager[str]:
        app = make_app(**options)
        if behind is not None:
            app.add_middleware(behind)
        return serve_app(app)

    return serve
