"""The application in two replicas of a real Ray cluster in processes of this machine."""

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image
from ports import find_free_port
from ray_cluster import pass_over_its_warnings, start_cluster

from clipn.serving.schemas import ClassSetContent
from clipn.serving.settings import Settings
from clipn.serving.shared_class_sets import ClassSetBoard

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install clipn[ray]")

pytestmark = pass_over_its_warnings

NUM_CLIENTS, NUM_REQUESTS, MAX_TRIES = 4, 40, 40


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path: Path = tmp_path_factory.mktemp("photo") / "noise.png"
    values = np.random.default_rng(0).integers(0, 256, (40, 48, 3), dtype=np.uint8)
    Image.fromarray(values).save(path)
    return path.read_bytes()


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Where two replicas answer."""
    from ray import serve

    from clipn.cli.serve import Options, open_engine
    from clipn.serving.ray_serve import start_replicas
    from clipn.serving.replica_options import ReplicaOptions

    with start_cluster():
        try:
            yield start_replicas(
                partial(open_engine, Options(classes="tabby cat, espresso")),
                settings=Settings(batch_size=4),
                options=ReplicaOptions(replicas=2),
                port=find_free_port(),
            )
        finally:
            serve.shutdown()


@dataclass
class Client:
    """Asks until it is answered, and counts how often it had to ask again."""

    address: str
    photo: bytes
    num_retries: int = 0

    def detect(self, **fields: str) -> dict:
        """The answer for the photo."""
        for _ in range(MAX_TRIES):
            try:
                response = httpx.post(
                    f"{self.address}v1/detect",
                    files={"images": ("noise.png", self.photo, "image/png")},
                    data=fields,
                    timeout=60,
                )
            except httpx.TransportError:
                response = None
            if response is not None and response.status_code < 500:
                assert response.status_code == 200, response.text
                return response.json()
            self.num_retries += 1
            time.sleep(0.25)  # as Retry-After asks; what is waited for is the test's own subject
        raise AssertionError(f"No answer in {MAX_TRIES} tries.")


def test_what_one_replica_is_told_all_know(address: str, photo: bytes):
    client = Client(address, photo)
    for version, names in ((1, ["moon", "coin"]), (2, ["pizza", "bus", "cat"])):
        answer = httpx.put(f"{address}v1/classes/mine", json={"classes": names}, timeout=60)
        assert answer.status_code == (201 if version == 1 else 200), answer.text
        assert answer.json()["version"] == version
        for _ in range(12):  # each connection may come to another replica
            found = httpx.get(f"{address}v1/classes/mine", timeout=60).json()
            assert (found["version"], found["classes"]) == (version, names)
        client.detect(class_set="mine")
    stale = httpx.put(
        f"{address}v1/classes/mine",
        json={"classes": ["moon"]},
        headers={"If-Match": '"1-00000000"'},
        timeout=60,
    )
    assert stale.status_code == 412
    assert httpx.delete(f"{address}v1/classes/mine", timeout=60).status_code == 204


def test_no_request_is_lost_when_a_replica_is_killed_under_load(address: str, photo: bytes):
    expected = Client(address, photo).detect()
    clients = [Client(address, photo) for _ in range(NUM_CLIENTS)]
    answers: list[dict] = []
    has_begun = threading.Event()

    def ask(client: Client) -> None:
        for _ in range(NUM_REQUESTS):
            answers.append(client.detect())
            has_begun.set()

    threads = [threading.Thread(target=ask, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    has_begun.wait()
    kill_a_replica()
    for thread in threads:
        thread.join()
    assert len(answers) == NUM_CLIENTS * NUM_REQUESTS
    for answer in answers:
        assert without_times(answer) == without_times(expected)
    # Only requests that the killed replica had taken are asked again.
    assert sum(client.num_retries for client in clients) <= NUM_CLIENTS * MAX_TRIES // 2


def kill_a_replica() -> None:
    replicas = [
        actor
        for actor in ray.util.list_named_actors(all_namespaces=True)
        if actor["name"].startswith("SERVE_REPLICA::")
    ]
    assert len(replicas) == 2
    ray.kill(ray.get_actor(replicas[0]["name"], namespace=replicas[0]["namespace"]))


def without_times(answer: dict) -> list:
    return [(one["label"], one["best_class"], round(one["score"], 5)) for one in answer["answers"]]


def test_the_board_refuses_a_change_of_what_has_changed():
    board = ClassSetBoard()
    first, second = ClassSetContent(classes=["moon"]), ClassSetContent(classes=["coin"])
    assert board.put("mine", first, former=None)
    assert not board.put("mine", second, former=None)
    assert board.put("mine", second, former=1)
    board.delete("mine", former=1)
    identity, revision, changes = board.read(since=0)
    assert (revision, [change.content for change in changes]) == (2, [second])
    board.delete("mine", former=2)
    assert board.read(since=2)[2][0].content is None
    assert board.put("mine", first, former=None)
    assert identity != ClassSetBoard().read(since=0)[0]
