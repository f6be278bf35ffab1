"""Figures of runs come to TensorBoard and Weights & Biases as they are in the log."""

import io
import json
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from clipn.cli.main import run
from clipn.errors import ModelError
from clipn.model import CLIPN
from clipn.tracking import open_tracker


def draw(number: int) -> bytes:
    values = np.random.default_rng(number).integers(0, 256, (20, 24, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def teach(tmp_path: Path, plain_model: CLIPN):
    """Runs `clipn train` on a few pairs, some epochs of three steps."""
    plain_model.save(tmp_path / "plain")
    rows = [{"image": {"bytes": draw(n)}, "caption": f"a picture of thing {n}"} for n in range(24)]
    pd.DataFrame(rows).to_parquet(tmp_path / "pairs.parquet")

    def teach(track: str, *, epochs: int = 1) -> list[dict]:
        options = {"--model": tmp_path / "plain", "--pairs.source": tmp_path / "pairs.parquet"}
        options |= {"--out-dir": tmp_path / "run", "--batch-size": 8, "--epochs": epochs}
        options |= {"--log-every": 1, "--checkpoint-every": 1, "--track": track}
        words = [str(word) for option in options.items() for word in option]
        assert run(["train", *words]) == 0
        log = (tmp_path / "run" / "log.jsonl").read_text().splitlines()
        return [json.loads(line) for line in log]

    return teach


def read_scalars(folder: Path) -> dict[str, dict[int, float]]:
    """Every scalar in event files by its name and step, as TensorBoard shows them."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder)).Reload()
    return {
        name: {point.step: point.value for point in events.Scalars(name)}
        for name in events.Tags()["scalars"]
    }


def read_wandb(folder: Path) -> Iterator[dict[str, float]]:
    """Every row of figures in the files of offline runs, which are logs of LevelDB's format."""
    from wandb.proto.wandb_internal_pb2 import Record

    for file in sorted(folder.rglob("*.wandb")):
        data, position, parts = file.read_bytes(), 7, b""  # after a header of W&B's own
        while position < len(data):
            if 32768 - position % 32768 < 7:  # no room for another record in this block
                position += 32768 - position % 32768
                continue
            _, length, kind = struct.unpack("<IHB", data[position : position + 7])
            parts += data[position + 7 : position + 7 + length]
            position += 7 + length
            if kind in (1, 4):  # whole, or the last part
                record, parts = Record.FromString(parts), b""
                if record.HasField("history"):
                    items = record.history.item
                    yield {i.key or "/".join(i.nested_key): json.loads(i.value_json) for i in items}


def test_tensorboard_has_the_figures_of_the_log(teach, tmp_path: Path):
    log = teach("tensorboard")
    scalars = read_scalars(tmp_path / "run" / "tensorboard")
    assert len(log) == 3
    for name in ("loss", "itbo_diagonal", "tso", "lr", "pairs_per_second", "epoch"):
        expected = {line["step"]: line[name] for line in log}
        assert scalars[f"train/{name}"] == pytest.approx(expected, rel=1e-6)


def test_a_run_that_goes_on_adds_to_its_figures(teach, tmp_path: Path):
    teach("tensorboard")
    log = (tmp_path / "run" / "log.jsonl").read_text()
    assert teach("tensorboard") == [json.loads(line) for line in log.splitlines()]
    with open_tracker("tensorboard", tmp_path / "run") as tracker:
        tracker.log({"train/loss": 7.0}, step=3)  # done again after a checkpoint at step 2
        tracker.log({"train/loss": 8.0}, step=4)
    scalars = read_scalars(tmp_path / "run" / "tensorboard")["train/loss"]
    assert sorted(scalars) == [1, 2, 3, 4]
    assert (scalars[3], scalars[4]) == (7.0, 8.0)


def test_wandb_has_the_figures_of_the_log_without_a_network(
    teach, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    wandb = pytest.importorskip("wandb", reason="wandb is absent: pip install clipn[tracking]")
    monkeypatch.setenv("WANDB_MODE", "offline")
    log = teach("wandb")
    wandb.teardown()  # its own process may still be writing; at the end of ours it is waited for
    rows = {row["step"]: row for row in read_wandb(tmp_path / "run" / "wandb")}
    assert sorted(rows) == [1, 2, 3]
    for line in log:
        found = rows[line["step"]]
        for name in ("loss", "itbo_off_diagonal", "lr"):
            assert found[f"train/{name}"] == pytest.approx(line[name], rel=1e-9)


@pytest.fixture
def evaluate(tmp_path: Path, learnable_model: CLIPN, capsys: pytest.CaptureFixture[str]):
    """Runs `clipn eval` on a small suite, and gives its figures by the names that trackers use."""
    learnable_model.save(tmp_path / "model")
    for domain in ("art_painting", "cartoon", "photo", "sketch"):
        for number, name in enumerate(
            ("dog", "elephant", "giraffe", "guitar", "horse", "house", "person")
        ):
            folder = tmp_path / "data/pacs" / domain / name
            folder.mkdir(parents=True)
            (folder / "0.png").write_bytes(draw(number))
            (folder / "1.png").write_bytes(draw(100 + number))

    def evaluate(track: str) -> dict[str, float]:
        words = f"pacs-open-photo --data-root {tmp_path}/data --model {tmp_path}/model"
        words += f" --counts report --out-dir {tmp_path}/out --num-resamples 10 --scores atd msp"
        assert run(["eval", *words.split(), "--track", track]) == 0
        capsys.readouterr()
        figures = {}
        for file in (tmp_path / "out/results/pacs-open-photo").rglob("*.json"):
            result = json.loads(file.read_text())
            sets = {**result["sets"], "mean_all": result["averages"]["all"]}
            for name, values in sets.items():
                for figure in ("auroc", "fpr95"):
                    place = f"pacs-open-photo/{result['score']}/{name}/{figure}"
                    figures[place] = values[figure]
        assert len(figures) >= 8  # two scores, a set and the mean, two figures
        return figures

    return evaluate


def test_eval_sends_the_figures_of_every_set(evaluate, tmp_path: Path):
    figures = evaluate("tensorboard")
    scalars = read_scalars(tmp_path / "out" / "tensorboard")
    for name, value in figures.items():
        assert scalars[name][0] == pytest.approx(value, rel=1e-6)


def test_eval_sends_them_to_wandb_without_a_network(
    evaluate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    wandb = pytest.importorskip("wandb", reason="wandb is absent: pip install clipn[tracking]")
    monkeypatch.setenv("WANDB_MODE", "offline")
    figures = evaluate("wandb")
    wandb.teardown()  # its own process may still be writing
    found: dict[str, float] = {}
    for row in read_wandb(tmp_path / "out" / "wandb"):
        found |= row
    for name, value in figures.items():
        assert found[name] == pytest.approx(value, rel=1e-9)


def test_nothing_is_opened_before_the_first_figure(tmp_path: Path):
    with open_tracker("tensorboard", tmp_path / "run"):
        pass
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["tensorboard", "wandb"])
def test_a_package_that_is_missing_is_named(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    import sys

    monkeypatch.setitem(sys.modules, "wandb", None)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard.writer", None)
    with (
        open_tracker(name, tmp_path) as tracker,
        pytest.raises(ModelError, match=r'pip install "clipn\[tracking\]"'),
    ):
        tracker.log({"loss": 1.0}, step=1)
