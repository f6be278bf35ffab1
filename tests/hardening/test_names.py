"""Names of files and classes with whatever may be in them."""

import json
import os
from pathlib import Path

import pandas as pd
import pytest
from specimens import draw_picture, encode

from clipn.cli.inputs import read_class_names
from clipn.cli.main import run
from clipn.cli.printable import printable
from clipn.detector import Detector
from clipn.model import CLIPN

FILES = {
    "new\nline.jpg": r"new\nline.jpg",
    "\u202egpj.exe.jpg": r"\u202egpj.exe.jpg",
    "\U0001f408.jpg": "\U0001f408.jpg",
    "\x1b[31mred.jpg": r"\x1b[31mred.jpg",
    "[red]bold.jpg": "[red]bold.jpg",
    "c" * 251 + ".jpg": "c" * 60,
    ' comma, "quote".jpg': ' comma, "quote".jpg',
    os.fsdecode(b"not \xff utf-8.jpg"): r"not \xff utf-8.jpg",
}


@pytest.fixture
def model_dir(learnable_model: CLIPN, tmp_path: Path) -> str:
    learnable_model.save(tmp_path / "model")
    return str(tmp_path / "model")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in FILES:
        (folder / name).write_bytes(encode(draw_picture(), "JPEG"))
    return folder


def test_files_of_any_name_are_answered_for_and_shown_in_one_line(
    photos: Path,
    model_dir: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.chdir(photos)
    answers = photos.parent / "answers"
    arguments = ["detect", ".", "--classes", "cat, dog", "--model", model_dir]
    for kind in ("csv", "json", "parquet"):
        assert run([*arguments, f"--{kind}", f"{answers}.{kind}"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in FILES.values())
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    rows = json.loads(Path(f"{answers}.json").read_text())["answers"]
    kept = {row["image"] for row in rows}
    # In files names stay as they are, where they are text.
    assert kept == {name for name in FILES if "utf" not in name} | {r"not \xff utf-8.jpg"}
    assert set(pd.read_csv(f"{answers}.csv")["image"]) == kept
    assert set(pd.read_parquet(f"{answers}.parquet")["image"]) == kept


def test_batches_refuse_a_name_that_no_table_holds(
    photos: Path, model_dir: str, capsys: pytest.CaptureFixture[str]
):
    out = photos.parent / "out"
    arguments = ["batch", str(photos), str(out), "--classes", "cat, dog", "--model", model_dir]
    assert run(arguments) == 1
    assert r"not \udcff utf-8.jpg' is no UTF-8 text" in capsys.readouterr().err
    (photos / os.fsdecode(b"not \xff utf-8.jpg")).unlink()
    assert run(arguments) == 0
    kept = pd.concat(pd.read_parquet(path) for path in out.glob("*.parquet"))
    assert set(kept["image"]) == {name for name in FILES if "utf" not in name}


NAMES = ["a\nb", "a\0b", "\u202etac", "\U0001f408", "x" * 10_000, "\x1b[31mred", "{}", "[bold]"]


def test_class_names_of_any_kind_have_their_answer(plain_model: CLIPN, tmp_path: Path):
    detector = Detector(plain_model, NAMES, score="msp", threshold=0.0)
    detector.save(tmp_path / "detector")
    assert Detector.load(tmp_path / "detector").class_names == tuple(NAMES)
    [answer] = detector.predict(draw_picture())
    assert answer.label in NAMES


def test_a_class_name_that_is_no_text_is_refused(plain_model: CLIPN):
    with pytest.raises(ValueError, match="Class name 1 is no UTF-8 text"):
        Detector(plain_model, ["cat", "\udcff"])


def test_a_long_list_of_classes_is_not_taken_for_a_file():
    names = [f"class {number}" for number in range(2000)]
    assert read_class_names(", ".join(names)) == names
    assert read_class_names("x" * 10_000) == ["x" * 10_000]


@pytest.mark.parametrize("pattern", ["no\nsuch.jpg", "a\0b.jpg", "\udcff.jpg", "x" * 10_000])
def test_errors_are_one_line_whatever_they_name(
    pattern: str, model_dir: str, capsys: pytest.CaptureFixture[str]
):
    assert run(["detect", pattern, "--classes", "cat", "--model", model_dir]) == 1
    error = capsys.readouterr().err
    assert error.startswith("clipn detect: ")
    assert error.count("\n") == 1
    assert printable(error.rstrip("\n")) == error.rstrip("\n")


def test_the_service_answers_or_refuses_classes_of_any_name(learnable_model: CLIPN):
    fastapi = pytest.importorskip("fastapi.testclient")
    from clipn.serving.app import create_app
    from clipn.serving.torch_engine import TorchEngine

    content = encode(draw_picture(), "JPEG")
    odd = "\u202ename\n.jpg"
    with fastapi.TestClient(create_app(TorchEngine(learnable_model))) as client:
        for name in (*NAMES, "cat"):
            has_control = any(ord(character) < 32 for character in name)
            status = 422 if has_control or len(name) > 1000 else 200
            form = {"files": [("images", (odd, content))], "data": {"classes": [name]}}
            answer = client.post("/v1/detect", **form)
            assert answer.status_code == status, (name, answer.text)
        body = b'{"images": [{"data": ""}], "classes": ["\\ud800"]}'
        headers = {"Content-Type": "application/json"}
        answer = client.post("/v1/detect", content=body, headers=headers)
        assert answer.status_code in (400, 422), answer.text
