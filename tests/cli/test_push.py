"""`clipn push`, and addresses of the hub wherever a command names a model."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hub_server import Hub
from PIL import Image

from clipn.cli.main import run
from clipn.model import CLIPN, load_model, save_model

# The client's own HTTP upload, which it keeps for hubs without Xet.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

TERMS = ["--license", "mit", "--data-terms"]


def test_a_pushed_model_is_named_by_its_commit_in_other_commands(
    hub: Hub,
    learnable_model: CLIPN,
    go_offline: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.chdir(tmp_path)
    save_model(learnable_model, Path("mine"), training={"epochs": 3})
    Path("terms.txt").write_text("Squares of one colour.\n")
    assert run(["push", "mine", "owner/name", *TERMS, "terms.txt"]) == 0
    words = capsys.readouterr().out.split()
    assert words[:3] == ["Published:", "clipn", "detect"]
    address = words[-1]
    files = hub.repositories["owner/name"].commits[address.partition("@")[2]]
    assert json.loads(files["config.json"])["training"] == {"epochs": 3}
    assert "Squares of one colour." in files["README.md"].decode()
    assert load_model(address).fingerprint() == learnable_model.fingerprint()

    Image.new("RGB", (40, 40), "red").save("red.png")
    assert (
        run(["calibrate", "red.png", "--classes", "red", "--model", address, "--out-dir", "d"]) == 0
    )
    go_offline()
    assert run(["detect", "red.png", "--detector", "d", "--csv", "-"]) == 0
    assert "red.png,red," in capsys.readouterr().out


@pytest.mark.usefixtures("hub")
def test_what_hinders_is_said_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], go_offline: Callable[[], None]
):
    assert run(["push", "compact", "name", *TERMS, "none"]) == 2
    assert "'name' is no address on the hub" in capsys.readouterr().err
    assert run(["push", "compact", "owner/name", *TERMS, "x", "--results", str(tmp_path)]) == 1
    assert "holds no results" in capsys.readouterr().err
    assert run(["detect", str(tmp_path), "--classes", "a", "--model", "hf-hub:owner/no"]) == 1
    go_offline()
    capsys.readouterr()
    assert run(["push", "compact", "owner/name", *TERMS, "none"]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(
        "clipn push: hf-hub:owner/name could not be had from the hub: HF_HUB_OFF"
    )
