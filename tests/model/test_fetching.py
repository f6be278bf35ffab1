"""A hub that does not answer: how long it is asked, what is said, what the cache is good for."""

import logging
from collections.abc import Callable
from typing import Any, NoReturn

import pytest
from hub_server import Hub, Repository
from ports import find_free_port

from clipn.errors import ModelError
from clipn.model.base import load_pretrained_base
from clipn.model.fetching import HubAddress, check_reachable, fetch

ADDRESS = HubAddress(repository="owner/name")


@pytest.fixture
def gone(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where nobody answers, which the client takes for the hub."""
    hub.repositories[ADDRESS.repository] = Repository()
    hub.repositories[ADDRESS.repository].commit({"config.json": b"{}", "weights.bin": b"0" * 99})
    address = f"http://127.0.0.1:{find_free_port()}"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)
    return address


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long was waited; no time passes."""
    waits: list[float] = []
    monkeypatch.setattr("time.sleep", waits.append)
    return waits


def test_it_is_asked_three_times_within_seconds(gone: str, waits: list[float]):
    with pytest.raises(ModelError, match=f"{gone} does not answer; it is not in the cache"):
        fetch(ADDRESS, ["config.json"])
    assert waits == [1.0, 2.0]


@pytest.mark.usefixtures("gone")
def test_one_that_answers_again_is_no_failure(hub: Hub, monkeypatch: pytest.MonkeyPatch):
    def come_back(_: float) -> None:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.address)

    monkeypatch.setattr("time.sleep", come_back)
    assert (fetch(ADDRESS, ["config.json"]) / "config.json").read_bytes() == b"{}"


def test_no_further_try_is_made_where_one_took_long(
    gone: str, waits: list[float], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("clipn.model.fetching.MAX_SECONDS", 0.0)
    with pytest.raises(ModelError, match=f"{gone} does not answer"):
        fetch(ADDRESS, ["config.json"])
    assert waits == []


def test_who_is_offline_on_purpose_waits_for_nothing(
    waits: list[float], go_offline: Callable[[], None]
):
    go_offline()
    with pytest.raises(ModelError, match="HF_HUB_OFFLINE is set"):
        check_reachable("owner/name")
    assert waits == []


def test_to_ask_whether_it_answers_downloads_nothing(hub: Hub):
    hub.repositories[ADDRESS.repository] = Repository()
    hub.repositories[ADDRESS.repository].commit({"weights.bin": b"0" * 99})
    check_reachable(ADDRESS.repository)
    assert hub.requests
    assert not any("/resolve/" in request for request in hub.requests)
    with pytest.raises(ModelError, match="there is no such repository"):
        check_reachable("owner/nothing")


def test_what_is_in_the_cache_needs_no_answer(
    hub: Hub, gone: str, waits: list[float], monkeypatch: pytest.MonkeyPatch
):
    with monkeypatch.context() as patch:
        patch.setattr("huggingface_hub.constants.ENDPOINT", hub.address)
        fetch(ADDRESS, ["weights.bin"])
    check_reachable(ADDRESS.repository)
    assert waits == []


def test_pretrained_weights_that_cannot_be_had_are_said_in_one_line(
    gone: str,
    waits: list[float],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    def fail(*_: Any, **__: Any) -> NoReturn:
        pytest.fail("open_clip was asked, which takes a minute to give up")

    monkeypatch.setattr("open_clip.create_model", fail)
    with caplog.at_level(logging.WARNING), pytest.raises(ModelError) as caught:
        load_pretrained_base("ViT-B-32", "openai")
    message = str(caught.value)
    assert message.startswith("The weights ViT-B-32/openai could not be loaded: hf-hub:timm/")
    assert f"{gone} does not answer" in message
    assert "\n" not in message
    assert not caplog.records
