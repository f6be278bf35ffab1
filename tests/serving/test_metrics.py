"""What Prometheus reads."""

from collections.abc import Iterator

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families


@pytest.fixture(scope="module")
def fresh(serve, detect, photos) -> Iterator[httpx.Client]:
    """A service that was asked some things."""
    with serve() as address, httpx.Client(base_url=address, timeout=60) as client:
        files = [path.read_bytes() for path in photos]
        assert detect(client, *files, b"no picture", classes="espresso").status_code == 200
        assert detect(client, files[0], class_set="nothing").status_code == 404
        assert client.get("/some/where").status_code == 404
        assert client.request("PROPFIND", "/v1/detect").status_code == 405
        yield client


@pytest.fixture
def read(fresh):
    """Reads a sample by its name and labels."""

    def read(name: str, **labels: str) -> float:
        families = text_string_to_metric_families(fresh.get("/metrics").text)
        samples = [sample for family in families for sample in family.samples]
        (value,) = [s.value for s in samples if s.name == name and s.labels == labels]
        return value

    return read


def test_requests_are_counted_by_route_method_and_status(read):
    route = "/v1/detect"
    assert read("clipn_requests_total", route=route, method="POST", status="200") == 1
    assert read("clipn_requests_total", route=route, method="POST", status="404") == 1
    assert read("clipn_request_seconds_count", route=route) == 3
    assert read("clipn_request_seconds_bucket", route=route, le="+Inf") == 3


def test_strange_paths_and_methods_share_one_counter(fresh, read):
    fresh.get("/another/path")

    text = fresh.get("/metrics").text
    assert "/some/where" not in text
    assert "/another/path" not in text
    assert "PROPFIND" not in text


def test_images_batches_and_queues_are_told(read):
    assert read("clipn_images_total", outcome="answered") == 4
    assert read("clipn_images_total", outcome="unreadable") == 1
    assert read("clipn_batch_images_sum") == 4
    assert read("clipn_batch_seconds_sum") > 0
    for queue in ("images", "decoded", "bytes", "banks"):
        assert read(f"clipn_queue_{queue}") == 0
    assert read("clipn_requests_in_flight") == 1
