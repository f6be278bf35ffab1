"""`clipn serve` as a process of its own: it says where it is, answers, and ends well."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from clipn.cli.demo import find_pictures
from clipn.cli.main import run
from clipn.detector import Detector
from clipn.model import CLIPN


@contextmanager
def serve(*options: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run the command; gives the process and the address that it says."""
    command = [sys.executable, "-m", "clipn.cli.main", "serve", "--port", "0", *options]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert "http://127.0.0.1:" in line, line or process.stderr.read()
        yield process, next(word for word in line.split() if word.startswith("http"))
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()


@pytest.fixture(scope="module")
def file() -> bytes:
    return next(path for path in find_pictures() if path.name == "coffee.png").read_bytes()


def test_after_sigterm_everything_that_was_taken_is_answered(file: bytes):
    stop = threading.Event()
    statuses: list[int] = []
    refused: list[httpx.TransportError] = []

    def ask(address: str) -> None:
        """Ask until nobody answers any more."""
        with httpx.Client(base_url=address, timeout=60) as client:
            while not refused:
                try:
                    answer = client.post("/v1/detect", files={"images": ("a.png", file)})
                except httpx.ConnectError as error:
                    refused.append(error)
                    return
                except httpx.TransportError:
                    continue  # the connection was closed before the request was taken
                statuses.append(answer.status_code)
                assert answer.json()["answers"][0]["label"] == "espresso"
                if len(statuses) > 20:
                    stop.set()

    options = ("--classes", "tabby cat, espresso", "--log", "requests", "--drain-seconds", "0.5")
    with serve(*options) as (process, address):
        clients = [threading.Thread(target=ask, args=(address,)) for _ in range(4)]
        for client in clients:
            client.start()
        assert stop.wait(120)
        process.send_signal(signal.SIGTERM)
        for client in clients:
            client.join(120)
        _, log = process.communicate(timeout=120)

    lines = [json.loads(line) for line in log.splitlines()]
    taken = [line["status"] for line in lines if line["route"] == "/v1/detect"]
    assert process.returncode == 0
    assert set(statuses) == {200}
    assert len(taken) == len(statuses)


def test_draining_is_told_and_connections_end(file: bytes):
    with serve("--classes", "espresso", "--drain-seconds", "3600") as (process, address):
        with httpx.Client(base_url=address, timeout=60) as client:
            assert client.get("/readyz").json() == {"status": "ok"}
            process.send_signal(signal.SIGTERM)
            for _ in range(1000):
                ready = client.get("/readyz")
                if ready.status_code == 503:
                    break
            assert ready.json() == {"status": "draining"}
            answer = client.post("/v1/detect", files={"images": ("a.png", file)})
            assert answer.status_code == 200
            assert answer.headers["Connection"] == "close"
        process.send_signal(signal.SIGTERM)  # a second one does not wait for new requests
        assert process.wait(120) == 0


def test_a_detector_folder_brings_its_classes_and_its_decision(
    compact_model: CLIPN, tmp_path: Path, file: bytes
):
    detector = Detector(compact_model, ["espresso", "pizza"], score="energy", threshold=2.5)
    detector.save(tmp_path / "detector")
    (tmp_path / "token").write_text("open-sesame")

    options = ("--detector", str(tmp_path / "detector"), "--token-file", str(tmp_path / "token"))
    with serve(*options, CLIPN_TOKEN="another") as (_, address):
        headers = {"Authorization": "Bearer open-sesame"}
        with httpx.Client(base_url=address, timeout=60, headers=headers) as client:
            response = client.post("/v1/detect", files={"images": ("a.png", file)}).json()

    assert (response["score"], response["threshold"]) == ("energy", 2.5)
    assert response["answers"][0]["score"] == pytest.approx(detector.score([file])[0], rel=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--detector", "nowhere"], "nowhere"),
        (["--detector", "nowhere", "--classes", "cat"], "brings its own classes"),
        (["--runtime", "onnx"], "runs exported files"),
        (["--limits.images", "0"], "images must be at least 1"),
        (["--limits.images", "9", "--limits.queue-images", "8"], "images must not be above"),
        (["--token-file", "nowhere"], "cannot be read as a token"),
    ],
)
def test_wrong_options_are_said_in_one_line(options, message: str, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    assert run(["serve", *options]) in (1, 2)

    assert message in capsys.readouterr().err


def test_help_and_the_application_itself_do_not_wait_for_torch():
    code = (
        "import sys; from clipn.cli.main import run\n"
        "assert run(['serve', '--help']) == 0\n"
        "assert not {'torch', 'fastapi', 'pydantic'} & set(sys.modules)\n"
        "import clipn.serving.app, clipn.serving.server\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_an_exported_file_is_served_without_torch(compact_model: CLIPN, tmp_path: Path):
    pytest.importorskip("onnxruntime", reason='ONNX Runtime is absent: install "clipn[export]"')
    from clipn.export.writing import export_detector

    export_detector(Detector(compact_model, ["espresso"]), tmp_path / "detector.onnx")
    code = (
        "import sys; from pathlib import Path; from clipn.cli import serve\n"
        f"path = Path({str(tmp_path / 'detector.onnx')!r})\n"
        "engine, class_sets = serve.open_engine(serve.Options(detector=path))\n"
        "assert class_sets['default'].classes == ['espresso'] and engine.info.runtime == 'onnx'\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
