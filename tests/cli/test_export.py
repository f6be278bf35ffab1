"""`clipn export`, and `clipn detect` with what it wrote."""

import csv
from pathlib import Path

import pytest

from clipn.cli.main import run
from clipn.detector import Detector
from clipn.model import CLIPN


@pytest.fixture
def photo(tmp_path: Path) -> str:
    pytest.importorskip("skimage", reason="scikit-image brings the photographs")
    from clipn.cli.demo import copy_whole, find_pictures

    return str(copy_whole(find_pictures()[0], tmp_path / "photo.png"))


def read_answer(path: Path) -> dict[str, str]:
    with path.open() as file:
        [answer] = csv.DictReader(file)
    return answer


def test_a_calibrated_folder_is_exported_and_answers_alike(
    learnable_model: CLIPN, photo: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    detector = Detector(learnable_model, ["cat", "dog"], score="max_logit")
    detector.calibrate([photo])
    detector.threshold -= 0.01
    detector.save(tmp_path / "folder")
    file, answers = tmp_path / "tower.onnx", tmp_path / "answers.csv"
    export = ["export", str(tmp_path / "folder"), "--out", str(file), "--banks", "input"]
    assert run([*export, "--int8", "--calibrate-on", photo]) == 0
    said = capsys.readouterr().out
    assert "int8, score max_logit; mean cosine of its embeddings to float32: " in said
    assert "--classes DETECTOR_FOLDER" in said
    detect = ["detect", photo, "--detector", str(file), "--csv", str(answers)]
    assert run([*detect, "--classes", str(tmp_path / "folder")]) == 0
    answer = read_answer(answers)
    assert float(answer["score"]) == pytest.approx(detector.score([photo])[0], abs=0.3)
    capsys.readouterr()
    assert run(detect) == 2
    assert "name a detector folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["export", "--out", "a.onnx"], 2, "--classes is missing"),
        (["export", "folder", "--classes", "cat", "--out", "a.onnx"], 2, "brings its own classes"),
        (["export", "--classes", "cat", "--out", "a.onnx", "--int8"], 2, "belong together"),
        (["export", "nothing-here", "--out", "a.onnx"], 1, "is no detector folder"),
        (["detect", "a.png", "--classes", "cat", "--runtime", "onnx"], 2, "runs exported files"),
        (["detect", "a.png", "--detector", "a.onnx", "--runtime", "torch"], 2, "exported file"),
        (["detect", "a.png", "--detector", "a.onnx", "--device", "cuda"], 2, "run on the CPU"),
        (["detect", "a.png", "--detector", "a.onnx"], 1, "was not written by clipn export"),
    ],
)
def test_wrong_usage_is_told_in_one_line(
    arguments: list[str],
    code: int,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "a.onnx"):
        Path(name).write_bytes(b"nothing")
    assert run(arguments) == code
    [line] = capsys.readouterr().err.splitlines()
    assert message in line
    assert Path("a.onnx").read_bytes() == b"nothing"
