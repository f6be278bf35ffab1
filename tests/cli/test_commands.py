"""The command line as its users meet it."""

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from clipn.cli.main import COMMANDS, run
from clipn.model import CLIPN, load_model

CLASSES = ["--classes", "cat, espresso, school bus"]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    (folder / "deep").mkdir(parents=True)
    generator = np.random.default_rng(0)
    for name in ("a.png", "b.jpg", "deep/c.png"):
        pixels = generator.integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name)
    (folder / "notes.txt").write_text("no image")
    return folder


@pytest.fixture
def model_dir(learnable_model: CLIPN, tmp_path: Path) -> Path:
    learnable_model.save(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def detect(photos: Path, model_dir: Path) -> list[str]:
    return ["detect", str(photos), "--model", str(model_dir), *CLASSES]


def run_outside(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "clipn.cli.main", *arguments]
    return subprocess.run(
        command, input=stdin, capture_output=True, text=True, timeout=300, check=False
    )


def test_help_names_every_command_and_imports_nothing_heavy():
    code = (
        "import sys; from clipn.cli.main import run; code = run(['--help']);"
        "heavy = {'torch', 'tyro', 'rich', 'pandas', 'numpy'} & set(sys.modules);"
        "sys.exit(code or (f'imported {heavy}' if heavy else 0))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert all(command in done.stdout for command in COMMANDS)


@pytest.mark.parametrize("command", list(COMMANDS))
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]):
    assert run([command, "--help"]) == 0
    assert f"usage: clipn {command}" in capsys.readouterr().out


def test_no_command_and_a_wrong_one_are_wrong_usage(capsys: pytest.CaptureFixture[str]):
    assert run([]) == 2
    assert run(["detekt"]) == 2
    assert "did you mean 'detect'?" in capsys.readouterr().err
    assert run(["detect", "--no-such-option"]) == 2


def test_version_is_printed(capsys: pytest.CaptureFixture[str]):
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("clipn 0.")


# detect


def test_detect_prints_a_row_an_image_and_what_decided(
    detect: list[str], capsys: pytest.CaptureFixture[str]
):
    assert run(detect) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in ("a.png", "b.jpg", "c.png"))
    assert "notes.txt" not in out
    assert "3 images:" in out
    assert "Score atd, decided by the paper's rule atd." in out.replace("\n", " ")


def test_detect_writes_the_same_answers_as_json_csv_and_parquet(detect: list[str], tmp_path: Path):
    paths = {kind: tmp_path / "out" / f"answers.{kind}" for kind in ("json", "csv", "parquet")}
    assert run([*detect, *(word for k, p in paths.items() for word in (f"--{k}", str(p)))]) == 0
    from_json = json.loads(paths["json"].read_text())
    assert (from_json["score"], from_json["rule"]) == ("atd", "atd")
    table = pd.DataFrame(from_json["answers"])
    assert table["image"].map(lambda path: Path(path).name).tolist() == ["a.png", "b.jpg", "c.png"]
    for other in (pd.read_csv(paths["csv"]), pd.read_parquet(paths["parquet"])):
        assert other["label"].tolist() == table["label"].tolist()
        np.testing.assert_allclose(other["score"], table["score"], rtol=1e-6)


def test_detect_decodes_large_jpegs_smaller_on_request(
    photos: Path, model_dir: Path, tmp_path: Path
):
    patches = np.random.default_rng(1).integers(0, 256, (4, 8, 3), dtype=np.uint8)
    large = photos / "large.jpg"
    Image.fromarray(patches).resize((512, 256), Image.Resampling.BICUBIC).save(large)
    scores = {}
    for decoding in ("exact", "reduced"):
        table = tmp_path / f"{decoding}.json"
        options = ["--model", str(model_dir), *CLASSES, "--decoding", decoding]
        assert run(["detect", str(large), *options, "--json", str(table)]) == 0
        scores[decoding] = json.loads(table.read_text())["answers"][0]["score"]
    assert scores["reduced"] != scores["exact"]
    assert scores["reduced"] == pytest.approx(scores["exact"], abs=0.01)


def test_detect_writes_to_standard_output_and_nothing_else_there(
    detect: list[str], capsys: pytest.CaptureFixture[str]
):
    assert run([*detect, "--json", "-"]) == 0
    assert len(json.loads(capsys.readouterr().out)["answers"]) == 3
    assert run([*detect, "--csv", "-"]) == 0
    assert len(pd.read_csv(io.StringIO(capsys.readouterr().out))) == 3


def test_detect_reads_paths_from_standard_input(photos: Path, model_dir: Path):
    paths = f"{photos / 'b.jpg'}\n{photos / 'a.png'}\n"
    done = run_outside(
        "detect", "-", "--model", str(model_dir), *CLASSES, "--csv", "-", stdin=paths
    )
    assert done.returncode == 0, done.stderr
    images = pd.read_csv(io.StringIO(done.stdout))["image"].tolist()
    assert [Path(image).name for image in images] == ["b.jpg", "a.png"]


def test_detect_takes_patterns_and_a_file_of_names(
    photos: Path, model_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "names.txt").write_text("cat\n\nespresso\n")
    arguments = ["detect", str(photos / "*.png"), "--model", str(model_dir)]
    assert run([*arguments, "--classes", str(tmp_path / "names.txt"), "--json", "-"]) == 0
    [answer] = json.loads(capsys.readouterr().out)["answers"]
    assert answer["best_class"] in ("cat", "espresso")


def test_detect_goes_on_past_unreadable_images_and_names_them(
    detect: list[str], photos: Path, capsys: pytest.CaptureFixture[str]
):
    (photos / "broken.jpg").write_bytes(b"\xff\xd8\xff broken")
    assert run(detect) == 0
    captured = capsys.readouterr()
    assert "1 unreadable" in captured.out.replace("\n", " ")
    assert "broken.jpg cannot be read as an image" in captured.err
    assert run([*detect, "--strict"]) == 1


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["photos-that-are-not-there", *CLASSES], 1, "photos-that-are-not-there"),
        (["PHOTOS"], 2, "--classes is missing"),
        (["PHOTOS", "--classes", "cat, cat"], 2, "occurs twice"),
        (["PHOTOS", "--classes", ","], 2, "At least one class name"),
        (["PHOTOS", *CLASSES, "--model", "nowhere"], 1, "There is no model 'nowhere'"),
        (["PHOTOS", *CLASSES, "--score", "msp", "--model", "MODEL"], 1, "no decision rule"),
        (["PHOTOS", *CLASSES, "--detector", "x"], 2, "brings its own classes"),
        (["PHOTOS", "--detector", "x", "--rule", "ctw"], 2, "as it was saved; leave --rule out"),
        (
            ["PHOTOS", "--detector", "x", "--score", "msp"],
            2,
            "its own score; leave --score msp out",
        ),
        (["PHOTOS", "--detector", "x", "--model", "y"], 2, "its own model; leave --model y out"),
        (["PHOTOS", "--detector", "x", "--threshold", "1"], 2, "leave --threshold out"),
        (["PHOTOS", "--detector", "x"], 1, "is no detector folder"),
        (["PHOTOS", *CLASSES, "--explain", "--csv", "-"], 2, "--explain prints below the table"),
        (["PHOTOS", *CLASSES, "--templates", "none.txt", "--model", "MODEL"], 1, "none.txt"),
        (["PHOTOS", *CLASSES, "--device", "gpu9", "--model", "MODEL"], 2, "--device gpu9"),
        (["PHOTOS", *CLASSES, "--parquet", "-"], 2, "--parquet needs a file"),
        ([*CLASSES], 2, "IMAGES are missing"),
    ],
)
def test_a_users_mistake_is_one_line_and_an_exit_code(
    photos: Path,
    model_dir: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    message: str,
):
    places = {"PHOTOS": str(photos), "MODEL": str(model_dir)}
    assert run(["detect", *(places.get(word, word) for word in arguments)]) == code
    err = capsys.readouterr().err
    assert message in err
    assert len(err.strip().splitlines()) == 1
    assert "Traceback" not in err


def test_a_file_that_cannot_be_written_is_one_line(
    detect: list[str], photos: Path, capsys: pytest.CaptureFixture[str]
):
    assert run([*detect, "--csv", str(photos / "a.png" / "answers.csv")]) == 1
    assert "a.png" in capsys.readouterr().err


# calibrate


def test_a_calibrated_detector_keeps_what_it_promised(
    photos: Path, model_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    arguments = [str(photos), "--model", str(model_dir), *CLASSES, "--score", "max_logit"]
    out_dir = tmp_path / "detector"
    assert run(["calibrate", *arguments, "--out-dir", str(out_dir), "--tpr", "1.0"]) == 0
    assert "keeps 100% of 3 images" in capsys.readouterr().out.replace("\n", " ")
    assert run(["detect", str(photos), "--detector", str(out_dir), "--json", "-"]) == 0
    answers = json.loads(capsys.readouterr().out)
    assert answers["rule"] == "threshold"
    assert not any(answer["is_ood"] for answer in answers["answers"])


def test_a_promise_comes_with_p_values(photos: Path, model_dir: Path, tmp_path: Path):
    arguments = [str(photos), "--model", str(model_dir), *CLASSES, "--score", "energy"]
    arguments += ["--method", "conformal", "--alpha", "0.25", "--out-dir", str(tmp_path / "own")]
    assert run(["calibrate", *arguments]) == 0
    paths = {kind: tmp_path / f"answers.{kind}" for kind in ("json", "csv", "parquet")}
    options = [word for kind, path in paths.items() for word in (f"--{kind}", str(path))]
    assert run(["detect", str(photos), "--detector", str(tmp_path / "own"), *options]) == 0
    answers = json.loads(paths["json"].read_text())["answers"]
    assert sorted(answer["p_value"] for answer in answers) == [0.5, 0.75, 1.0]  # its own images
    for table in (pd.read_csv(paths["csv"]), pd.read_parquet(paths["parquet"])):
        assert table["p_value"].tolist() == [answer["p_value"] for answer in answers]


def test_a_wrong_tpr_is_wrong_usage(photos: Path, model_dir: Path, tmp_path: Path):
    arguments = [str(photos), "--model", str(model_dir), *CLASSES, "--tpr", "95"]
    assert run(["calibrate", *arguments, "--out-dir", str(tmp_path / "detector")]) == 2
    assert not (tmp_path / "detector").exists()


# import-checkpoint, list, demo


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--alpha", "0.1"], 2, "--alpha belongs to --method conformal"),
        (["--method", "conformal", "--tpr", "0.9"], 2, "--tpr belongs to --method tpr"),
        (["--method", "conformal", "--alpha", "0.001"], 1, "that takes 999 at least"),
    ],
)
def test_a_promise_that_cannot_be_made_is_one_line(
    photos: Path,
    model_dir: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    code: int,
    message: str,
):
    arguments = [str(photos / "a.png"), "--model", str(model_dir), *CLASSES, *options]
    assert run(["calibrate", *arguments, "--out-dir", str(tmp_path / "detector")]) == code
    assert message in capsys.readouterr().err
    assert not (tmp_path / "detector").exists()


@pytest.mark.parametrize("variant", ["learnable", "handcrafted"])
def test_a_reference_checkpoint_becomes_a_model_folder(
    shared_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], variant: str
):
    folder = shared_dir / "fixtures" / variant
    (tmp_path / "templates.txt").write_text("'a photo of many {}.'\n")
    code = run(
        [
            "import-checkpoint",
            str(folder / "epoch_10.pt"),
            "--model",
            str(folder / "model.json"),
            "--out-dir",
            str(tmp_path / "model"),
            "--templates",
            str(tmp_path / "templates.txt"),
        ]
    )
    assert code == 0, capsys.readouterr().err
    assert f"Imported a {variant} checkpoint" in capsys.readouterr().out
    model = load_model(tmp_path / "model")
    assert model.variant == variant
    assert model.templates == ("'a photo of many {}.'",)


def test_a_checkpoint_that_does_not_fit_is_one_line(
    shared_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    checkpoint = shared_dir / "fixtures" / "learnable" / "epoch_10.pt"
    arguments = [str(checkpoint), "--model", "ViT-B-99", "--out-dir", str(tmp_path / "model")]
    assert run(["import-checkpoint", *arguments]) == 1
    err = capsys.readouterr().err
    assert "did you mean ViT-B-" in err
    assert len(err.strip().splitlines()) == 1
    assert not (tmp_path / "model").exists()


def test_list_shows_scores_and_models(capsys: pytest.CaptureFixture[str]):
    assert run(["list"]) == 0
    out = capsys.readouterr().out
    assert "compact" in out
    assert "ViT-B-16" in out
    assert "Agreeing to differ" in out
    assert "coca_ViT-B-32" not in out


def test_the_demo_names_what_is_there_and_refuses_what_is_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    pytest.importorskip("skimage", reason="scikit-image brings the demo's photographs")
    assert run(["demo", "--out-dir", str(tmp_path / "demo")]) == 0
    out = capsys.readouterr().out
    rows = {line.split("/")[-1].split()[0]: line for line in out.splitlines() if ".png" in line}
    assert "tabby cat" in rows["chelsea.png"]
    page = (tmp_path / "demo" / "index.html").read_text()
    assert page.count("<figure") == len([n for n in rows if n]) + out.count(".jpg")
    assert "http" not in page.replace("http-equiv", "")


def test_the_demo_without_scikit_image_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert run(["demo", "--out-dir", str(tmp_path / "demo")]) == 1
    assert "pip install 'clipn[demo]'" in capsys.readouterr().err
