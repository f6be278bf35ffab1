"""Commands with no network, and with a home that nothing can be written to."""

import logging
import socket
from pathlib import Path

import pytest
from specimens import draw_picture

from clipn.cli.main import run


@pytest.fixture
def photos(tmp_path: Path) -> str:
    (tmp_path / "photos").mkdir()
    for shift in range(4):
        draw_picture(shift=shift).resize((80, 70)).save(tmp_path / "photos" / f"{shift}.png")
    return str(tmp_path / "photos")


@pytest.fixture
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever opens a connection or looks a name up fails the test."""

    def refuse(*arguments: object, **_: object) -> None:
        pytest.fail(f"the network was asked for: {arguments}")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)


@pytest.mark.usefixtures("_no_network")
def test_what_needs_no_network_asks_for_none(photos: str, tmp_path: Path):
    classes = ["--classes", "cat, espresso"]
    detector, batch = str(tmp_path / "detector"), str(tmp_path / "batch")
    for arguments in (
        ["list"],
        ["detect", photos, *classes],
        ["calibrate", photos, *classes, "--out-dir", detector],
        ["detect", photos, "--detector", detector],
        ["batch", photos, batch, "--detector", detector],
    ):
        assert run(arguments) == 0, arguments


@pytest.mark.parametrize("model", ["ViT-B-32/openai", "hf-hub:nobody/nothing"])
def test_what_needs_one_says_so_in_one_line(
    model: str,
    photos: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
):
    def unreachable(*_: object, **__: object) -> None:
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", unreachable)
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # between tries
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    # Handlers write to what was standard error when they were made, maybe in another test.
    for name in (None, "huggingface_hub"):
        monkeypatch.setattr(logging.getLogger(name), "handlers", [])
    assert run(["detect", photos, "--classes", "cat", "--model", model]) == 1
    error = capsys.readouterr().err
    assert error.splitlines()[-1].startswith("clipn detect: ")  # after the hub's client's own tries
    assert error.count("clipn detect: ") == 1
    assert "Traceback" not in error


def test_a_home_that_cannot_be_written_to_is_no_error(
    photos: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    """As in a container: nothing can be made where the home should be."""
    (tmp_path / "home").write_text("a file, no folder")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("CLIPN_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert run(["detect", photos, "--classes", "cat, espresso"]) == 0
