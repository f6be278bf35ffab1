"""The real application with the compact model, served over HTTP on a free port."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from threading import Event
from typing import Any

import httpx
import numpy as np
import pytest

from clipn.cli.demo import find_pictures
from clipn.model import CLIPN
from clipn.serving.app import create_app
from clipn.serving.schemas import ClassSetContent
from clipn.serving.server import serve_in_thread
from clipn.serving.settings import Settings
from clipn.serving.torch_engine import TorchEngine

CLASSES = ("tabby cat", "espresso", "school bus", "pizza", "sports car")
# The cat is refused by a hair, the coffee and the retina are named.
PHOTOS = ("chelsea.png", "coffee.png", "rocket.jpg", "retina.jpg")


@pytest.fixture(scope="session")
def class_names() -> Sequence[str]:
    """Five classes."""
    return CLASSES


@pytest.fixture(scope="session")
def photos() -> Sequence[Path]:
    """Four of scikit-image's photographs."""
    by_name = {path.name: path for path in find_pictures()}
    return [by_name[name] for name in PHOTOS]


class GatedEngine(TorchEngine):
    """The compact model, whose image tower can be held up."""

    def __init__(self, model: CLIPN) -> None:
        super().__init__(model)
        self.gate, self.is_waiting = Event(), Event()
        self.gate.set()
        self.batch_sizes: list[int] = []

    def encode(self, images: Sequence[Any]) -> np.ndarray:
        self.is_waiting.set()
        assert self.gate.wait(60)
        self.batch_sizes.append(len(images))
        return super().encode(images)


@pytest.fixture
def gated_engine(compact_model: CLIPN) -> Iterator[GatedEngine]:
    """An engine whose tower goes on once its gate is set."""
    engine = GatedEngine(compact_model)
    yield engine
    engine.gate.set()


Serve = Callable[..., AbstractContextManager[str]]


@pytest.fixture(scope="session")
def serve(compact_model: CLIPN) -> Serve:
    """Serves the application; takes what is set differently, and gives the address.

    `engine` is another engine, `behind` some middleware, `initial` class sets of the command line.
    """
    compact = TorchEngine(compact_model)

    def serve(
        *, engine: Any = compact, behind: Any = None, initial: Any = None, **options: Any
    ) -> AbstractContextManager[str]:
        app = create_app(engine, settings=Settings(**options), class_sets=initial)
        if behind is not None:
            app.add_middleware(behind)
        return serve_in_thread(app)

    return serve


@pytest.fixture(scope="session")
def address(serve: Serve, class_names: Sequence[str]) -> Iterator[str]:
    """Where the application is served, with a default class set."""
    content = ClassSetContent(classes=list(class_names), score=None, rule=None, threshold=None)
    with serve(initial={"default": content}) as address:
        yield address


@pytest.fixture(scope="session")
def client(address: str) -> Iterator[httpx.Client]:
    """Asks that application."""
    with httpx.Client(base_url=address, timeout=60) as client:
        yield client


def ask(client: httpx.Client, *files: bytes, **fields: Any) -> httpx.Response:
    """Ask for images, as a form."""
    images = [("images", (f"{number}", data)) for number, data in enumerate(files)]
    return client.post("/v1/detect", files=images, data=fields)


@pytest.fixture(scope="session")
def detect() -> Callable[..., httpx.Response]:
    """Asks for images as a form: `detect(client, *files, **fields)`."""
    return ask


def check_problem(answer: httpx.Response, status: int, kind: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json()
    assert problem["type"] == f"urn:clipn:problem:{kind}"
    assert problem["status"] == status
    assert problem["request_id"] == answer.headers["X-Request-ID"]
    assert problem["title"]
    assert problem["detail"]
    assert "Traceback" not in answer.text
    assert ".py" not in answer.text
    return problem


@pytest.fixture(scope="session")
def expect_problem() -> Callable[..., dict[str, Any]]:
    """Checks that an answer is a problem of a kind, and gives it."""
    return check_problem
