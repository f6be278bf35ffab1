"""Requests share batches, wait in bounded queues, and are given up at their deadline."""

import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar

import httpx
import pytest

from clipn.serving.torch_engine import TorchEngine


@pytest.fixture(scope="module")
def file(photos) -> bytes:
    return Path(photos[1]).read_bytes()


def wait_until(is_so: Callable[[], bool]) -> None:
    """Poll what has no event of its own, for as long as a slow machine may need."""
    pause = threading.Event()
    for _ in range(3000):
        if is_so():
            return
        pause.wait(0.02)
    raise AssertionError("it never became so")


def gauge(client: httpx.Client, name: str) -> float:
    lines = client.get("/metrics").text.splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))


def test_requests_of_different_classes_share_a_batch(serve, detect, gated_engine, file):
    with (
        serve(engine=gated_engine) as address,
        httpx.Client(base_url=address, timeout=60) as client,
        ThreadPoolExecutor(9) as pool,
    ):
        for number in range(9):  # embedded beforehand
            detect(client, b"GIF", classes=f"class {number}")
        gated_engine.gate.clear()
        gated_engine.is_waiting.clear()
        answers = [pool.submit(detect, client, file, classes="class 0")]
        assert gated_engine.is_waiting.wait(60)
        for number in range(1, 9):
            answers.append(pool.submit(detect, client, file, classes=f"class {number}"))
        wait_until(lambda: gauge(client, "clipn_queue_decoded") == 8)
        gated_engine.gate.set()

        labels = [answer.result().json()["answers"][0]["best_class"] for answer in answers]

    assert labels == [f"class {number}" for number in range(9)]
    assert gated_engine.batch_sizes == [1, 8]


def test_a_full_queue_is_said_with_a_time_to_come_back(
    serve, detect, gated_engine, file, expect_problem
):
    with (
        serve(engine=gated_engine, queue_images=3, images=3) as address,
        httpx.Client(base_url=address, timeout=60) as client,
        ThreadPoolExecutor(1) as pool,
    ):
        gated_engine.gate.clear()
        accepted = pool.submit(detect, client, file, file, classes="cat")
        assert gated_engine.is_waiting.wait(60)

        refused = detect(client, file, file, classes="cat")
        ready = client.get("/readyz")
        gated_engine.gate.set()

        expect_problem(refused, 503, "queue-full")
        assert int(refused.headers["Retry-After"]) >= 1
        assert ready.json() == {"status": "ok"}
        assert accepted.result().status_code == 200
        assert detect(client, file, file, file, classes="cat").status_code == 200


def test_a_service_without_any_room_is_not_ready(serve, detect, gated_engine, file):
    with (
        serve(engine=gated_engine, queue_images=1, images=1) as address,
        httpx.Client(base_url=address, timeout=60) as client,
        ThreadPoolExecutor(1) as pool,
    ):
        gated_engine.gate.clear()
        accepted = pool.submit(detect, client, file, classes="cat")
        assert gated_engine.is_waiting.wait(60)

        ready = client.get("/readyz")
        gated_engine.gate.set()

        assert (ready.status_code, ready.json()) == (503, {"status": "overloaded"})
        assert accepted.result().status_code == 200


def test_bodies_that_hold_too_much_together_are_refused(
    serve, detect, gated_engine, file, expect_problem
):
    size = len(file) + 1000
    limits = {"image_bytes": size, "body_bytes": size, "queue_bytes": size}
    with (
        serve(engine=gated_engine, **limits) as address,
        httpx.Client(base_url=address, timeout=60) as client,
        ThreadPoolExecutor(1) as pool,
    ):
        gated_engine.gate.clear()
        accepted = pool.submit(detect, client, file, classes="cat")
        assert gated_engine.is_waiting.wait(60)

        refused = detect(client, file, classes="cat")
        gated_engine.gate.set()

        expect_problem(refused, 503, "queue-full")
        assert accepted.result().status_code == 200
        wait_until(lambda: gauge(client, "clipn_queue_bytes") == 0)


def test_at_its_deadline_a_request_is_given_up_and_its_place_is_free(
    serve, detect, gated_engine, file, expect_problem
):
    with (
        serve(engine=gated_engine, deadline_seconds=1, queue_images=1, images=1) as address,
        httpx.Client(base_url=address, timeout=60) as client,
    ):
        detect(client, b"GIF", classes="cat")
        gated_engine.gate.clear()

        late = detect(client, file, classes="cat")
        gated_engine.gate.set()

        expect_problem(late, 504, "deadline")
        wait_until(lambda: detect(client, file, classes="cat").status_code == 200)
        assert gauge(client, "clipn_queue_images") == 0


def test_a_body_that_never_ends_is_given_up(serve):
    with serve(deadline_seconds=0.2) as address:
        url = httpx.URL(address)
        with socket.create_connection((url.host, url.port), timeout=60) as connection:
            head = "POST /v1/detect HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n"
            connection.sendall(f"{head}Content-Type: application/json\r\n\r\n{{".encode())
            answer = connection.recv(1 << 16)
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"urn:clipn:problem:body-timeout" in answer


def test_classes_are_embedded_once_for_all_who_ask_at_once(serve, detect, compact_model, file):
    class CountingEngine(TorchEngine):
        asked: ClassVar[list[tuple[str, ...]]] = []

        def embed_classes(self, names):
            self.asked.append(names)
            return super().embed_classes(names)

    engine = CountingEngine(compact_model)
    with (
        serve(engine=engine, kept_classes=3) as address,
        httpx.Client(base_url=address, timeout=60) as client,
        ThreadPoolExecutor(6) as pool,
    ):
        ask = [pool.submit(detect, client, file, classes=["cat", "dog"]) for _ in range(6)]
        assert {answer.result().status_code for answer in ask} == {200}
        assert engine.asked == [("cat", "dog")]

        detect(client, file, classes=["espresso", "pizza"])  # no room for both lists
        detect(client, file, classes=["espresso", "pizza"])
        detect(client, file, classes=["cat", "dog"])
    assert engine.asked == [("cat", "dog"), ("espresso", "pizza"), ("cat", "dog")]


def test_lists_of_classes_wait_in_a_bounded_queue(serve, detect, compact_model, expect_problem):
    class SlowEngine(TorchEngine):
        gate, is_waiting = threading.Event(), threading.Event()

        def embed_classes(self, names):
            self.is_waiting.set()
            assert self.gate.wait(60)
            return super().embed_classes(names)

    engine = SlowEngine(compact_model)
    with (
        serve(engine=engine, queue_banks=1) as address,
        httpx.Client(base_url=address, timeout=60) as client,
        ThreadPoolExecutor(1) as pool,
    ):
        accepted = pool.submit(detect, client, b"GIF", classes="cat")
        assert engine.is_waiting.wait(60)
        refused = detect(client, b"GIF", classes="dog")
        engine.gate.set()

        expect_problem(refused, 503, "queue-full")
        assert refused.headers["Retry-After"]
        assert accepted.result().status_code == 200
