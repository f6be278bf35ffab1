"""`clipn eval` and `clipn compare` as their users meet them, on a small tree of PACS's layout."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from clipn.cli.main import run

SUITE = "pacs-open-photo"
SYLLABLES = tuple(f"{first}{last}" for first in "rstvz" for last in "aeiou")
CLASSES = ("dog", "elephant", "giraffe", "guitar", "horse", "house", "person")


@pytest.fixture
def pacs(tmp_path):
    generator = np.random.default_rng(0)
    root = tmp_path / "data"
    for domain in ("art_painting", "cartoon", "photo", "sketch"):
        for name in CLASSES:
            folder = root / "pacs" / domain / name
            folder.mkdir(parents=True)
            for number in range(2):
                pixels = generator.integers(0, 256, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.png")
    return root


@pytest.fixture
def model_dir(learnable_model, tmp_path):
    learnable_model.save(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def evaluate(pacs, model_dir, tmp_path):
    def evaluate_pacs(*options, out_dir=tmp_path / "out", suite=SUITE):
        arguments = [suite, "--data-root", str(pacs), "--model", str(model_dir)]
        arguments += ["--out-dir", str(out_dir), "--num-resamples", "10", "--counts", "report"]
        return run(["eval", *arguments, *options])

    return evaluate_pacs


def test_eval_prints_tables_and_writes_results_tables_and_report(evaluate, tmp_path, capsys):
    assert evaluate("--scores", "atd", "msp") == 0
    shown = capsys.readouterr().out
    assert SUITE in shown
    assert "atd" in shown
    assert "Means over 1 of 4 suites" in shown
    out = tmp_path / "out"
    assert {p.name for p in (out / "tables").iterdir()} == {
        f"{name}{suffix}" for name in (SUITE, "pacs-open") for suffix in (".md", ".csv", ".tex")
    }
    result = json.loads(next((out / "results" / SUITE).rglob("atd.json")).read_text())
    assert f"{100 * result['averages']['all']['auroc']:.2f}" in shown
    assert "<html" in (out / "report.html").read_text()


def test_what_is_not_served_is_said_on_stderr(evaluate, tmp_path, capsys):
    words = tmp_path / "words.txt"
    words.write_text(
        "".join(f"{a}{b}{c}\n" for a in "bdfgklmnp" for b in "aeiou" for c in SYLLABLES)
    )
    assert evaluate("--words", str(words)) == 0
    assert "Not served: eoe: no outlier names are given" in capsys.readouterr().err


def test_a_group_of_suites_is_measured_one_by_one(evaluate, tmp_path):
    assert evaluate("--scores", "msp", suite="pacs-open") == 0
    assert len(list((tmp_path / "out" / "results").iterdir())) == 4


def test_score_options_are_passed_on(evaluate, tmp_path):
    assert evaluate("--scores", "react", "--score-options", "react.percentile=50") == 0
    result = json.loads(next((tmp_path / "out" / "results").rglob("react.json")).read_text())
    assert result["score_options"]["percentile"] == 50


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--scores", "atdd"), 2, "Unknown score 'atdd'"),
        (("--scores", "all", "msp"), 2, "'all' alone, or names of scores"),
        (("--num-resamples", "-1"), 2, "num_resamples must be at least 0; got -1"),
        (("--batch-size", "0"), 2, "batch_size must be at least 1; got 0"),
        (("--device", "gpu"), 2, "--device gpu cannot be used: it must be cpu, cuda"),
        (("--score-options", "react=50"), 2, "must look like react.percentile=95"),
        (("--scores", "react", "--score-options", "react.p=5"), 2, "no option 'p'"),
        (("--words", "nowhere.txt"), 1, "nowhere.txt"),
    ],
)
def test_mistakes_are_told_in_one_line(evaluate, capsys, options, code, message):
    assert evaluate(*options) == code
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_an_unknown_suite_is_told_with_those_there_are(pacs, capsys):
    assert run(["eval", "imagenet", "--data-root", str(pacs)]) == 2
    assert "imagenet-mos" in capsys.readouterr().err


def test_a_second_run_keeps_or_refuses_what_is_there(evaluate, capsys):
    assert evaluate("--scores", "msp") == 0
    assert evaluate("--scores", "msp") == 0
    assert evaluate("--scores", "msp", "--existing", "refuse") == 1
    assert "There is a result" in capsys.readouterr().err


def test_check_tells_counts_and_what_is_missing(pacs, capsys):
    assert run(["eval", SUITE, "--data-root", str(pacs), "--check"]) == 1
    shown = capsys.readouterr().out
    assert "has 12 images; the protocol has 1,238" in shown
    assert run(["eval", "cifar10", "--data-root", str(pacs), "--check"]) == 1
    assert "is not below" in capsys.readouterr().out


def test_a_training_set_may_be_absent(pacs, evaluate, capsys):
    for domain in ("art_painting", "cartoon", "sketch"):
        shutil.rmtree(pacs / "pacs" / domain)
    assert run(["eval", SUITE, "--data-root", str(pacs), "--check"]) == 1  # too few images
    shown = capsys.readouterr().out
    assert "Only the scores that are fitted, react, fort, need not-photo-known." in shown
    assert evaluate("--scores", "fort") == 1
    assert "'fort' cannot be served: not-photo-known" in capsys.readouterr().err


def test_compare_prints_differences_and_writes_csv(evaluate, tmp_path, capsys):
    for name in ("first", "second"):
        assert evaluate("--scores", "msp", out_dir=tmp_path / name) == 0
    capsys.readouterr()
    folders = [str(tmp_path / name) for name in ("first", "second")]
    assert run(["compare", *folders, "--csv", str(tmp_path / "d.csv")]) == 0
    assert "+0.00" in capsys.readouterr().out
    frame = pd.read_csv(tmp_path / "d.csv")
    assert (frame["difference"] == 0).all()
    assert set(frame["metric"]) == {"auroc", "fpr95"}


def test_compare_without_results_is_an_error_in_one_line(tmp_path, capsys):
    assert run(["compare", str(tmp_path), str(tmp_path)]) == 1
    assert "holds no results" in capsys.readouterr().err
