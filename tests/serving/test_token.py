"""With a token, only who has it may ask; and nobody else ever reads it."""

import logging
from collections.abc import Iterator

import httpx
import pytest

from clipn.errors import DataError
from clipn.serving.settings import Settings, read_token

TOKEN = "open-sesame"


@pytest.fixture(scope="module")
def guarded(serve) -> Iterator[httpx.Client]:
    with serve(token=TOKEN) as address, httpx.Client(base_url=address, timeout=60) as client:
        yield client


@pytest.mark.parametrize(
    "header",
    [None, "", TOKEN, f"Basic {TOKEN}", "Bearer", "Bearer wrong", f"Bearer {TOKEN}x", "Bearer ä"],
)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/detectors"),
        ("GET", "/metrics"),
        ("POST", "/v1/detect"),
        ("PUT", "/v1/classes/pets"),
        ("DELETE", "/v1/classes/pets"),
    ],
)
def test_without_the_token_nothing_is_told_or_done(
    guarded, expect_problem, header, method: str, path: str
):
    headers = {} if header is None else {"Authorization": header.encode()}

    answer = guarded.request(method, path, headers=headers)

    expect_problem(answer, 401, "unauthorized")
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert TOKEN not in answer.text


def test_with_the_token_everything_is_answered(guarded, detect):
    guarded.headers["Authorization"] = f"bearer {TOKEN}"
    try:
        assert guarded.get("/v1/detectors").status_code == 200
        assert guarded.get("/metrics").status_code == 200
        assert detect(guarded, b"GIF", classes="cat").status_code == 200
    finally:
        del guarded.headers["Authorization"]


def test_health_page_and_description_need_none(guarded):
    for path in ("/healthz", "/readyz", "/", "/app.js", "/openapi.json"):
        assert guarded.get(path).status_code == 200
    security = guarded.get("/openapi.json").json()["paths"]["/v1/detect"]["post"]["security"]
    assert security == [{"token": []}]


def test_the_token_is_in_no_log_and_no_representation(guarded, caplog):
    # A `clipn serve` of another test may have told the log of requests to hold its tongue.
    caplog.set_level(logging.DEBUG, logger="clipn.serving.requests")
    with caplog.at_level(logging.DEBUG):
        guarded.get("/v1/detectors", headers={"Authorization": f"Bearer {TOKEN}"})
        guarded.get(f"/v1/classes/{TOKEN}?token={TOKEN}")

    lines = [str(record.__dict__) for record in caplog.records if record.name.startswith("clipn")]
    assert lines
    assert TOKEN not in "".join(lines)
    assert TOKEN not in repr(Settings(token=TOKEN))


def test_the_token_is_read_from_a_file_or_the_environment(tmp_path, monkeypatch):
    monkeypatch.delenv("CLIPN_TOKEN", raising=False)
    assert read_token() is None
    monkeypatch.setenv("CLIPN_TOKEN", "from-environment")
    assert read_token() == "from-environment"
    file = tmp_path / "token"
    file.write_text("from-file\n")
    assert read_token(file) == "from-file"

    file.write_text("\n")
    with pytest.raises(DataError, match="holds no token"):
        read_token(file)
    with pytest.raises(DataError, match="cannot be read as a token"):
        read_token(tmp_path / "missing")
