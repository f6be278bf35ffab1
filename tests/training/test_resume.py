"""Runs that are interrupted and started again: they end as one that was not, bit for bit."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision

from clipn.errors import TrainingError
from clipn.training import checkpoint as checkpoint_module
from clipn.training import loop, train

DEADLINE = 240.0  # seconds; only a machine that is far too busy comes near


def interrupt_at(step):
    def on_step(record):
        if record.step == step:
            raise KeyboardInterrupt

    return on_step


def without_speed(log):
    return [{key: value for key, value in line.items() if "second" not in key} for line in log]


def evaluate(model):
    return {"cosine": model.encode_text_no(["a dog"])[0, 0].item()}


@pytest.fixture
def assert_as_uninterrupted(configure, fresh_model, assert_same_weights, read_log, tmp_path):
    def check(model, config_changes=None, **options):
        out_dir = tmp_path / "uninterrupted"
        config = configure(out_dir=out_dir, **(config_changes or {}))
        assert_same_weights(model, train(config, model=fresh_model(), **options))
        assert without_speed(read_log()) == without_speed(read_log(out_dir))

    return check


@pytest.mark.parametrize("step", [1, 4, 5, 9])
def test_an_interrupted_run_goes_on_from_its_last_checkpoint(
    step, configure, fresh_model, assert_as_uninterrupted, read_log
):
    with pytest.raises(KeyboardInterrupt):
        train(configure(), model=fresh_model(), on_step=interrupt_at(step), evaluate=evaluate)
    assert read_log()[-1]["step"] == step
    steps = []
    resumed = train(
        configure(),
        model=fresh_model(),
        on_step=lambda record: steps.append(record.step),
        evaluate=evaluate,
    )
    last_checkpoint = (step - 1) // 2 * 2
    assert steps == list(range(last_checkpoint + 1, 10))
    assert_as_uninterrupted(resumed, evaluate=evaluate)


@pytest.mark.parametrize(
    "changes",
    [
        {"variant": "handcrafted"},
        {"precision": "bf16-mixed"},
        {"warmup_steps": 6},
        {"batch_size": 7},
    ],
)
def test_every_kind_of_run_goes_on_as_if_nothing_had_been(
    changes, configure, fresh_model, assert_as_uninterrupted
):
    with pytest.raises(KeyboardInterrupt):
        train(configure(**changes), model=fresh_model(), on_step=interrupt_at(5))
    assert_as_uninterrupted(train(configure(**changes), model=fresh_model()), changes)


def test_the_gradient_scaler_of_half_precision_goes_on_too(
    configure, fresh_model, assert_as_uninterrupted, monkeypatch
):
    def launch(config):
        # As on a GPU, but its scale changes every other step, so that forgetting it would show.
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**30, growth_interval=2)
        return Fabric(accelerator="cpu", plugins=[MixedPrecision("16-mixed", "cpu", scaler)])

    monkeypatch.setattr(loop, "_launch", launch)
    changes = {"precision": "16-mixed", "epochs": 10}
    with pytest.raises(KeyboardInterrupt):
        train(configure(**changes), model=fresh_model(), on_step=interrupt_at(17))
    assert_as_uninterrupted(train(configure(**changes), model=fresh_model()), changes)


def test_a_run_may_be_interrupted_again_and_again(configure, fresh_model, assert_as_uninterrupted):
    for step in (3, 4, 7, 8):
        with pytest.raises(KeyboardInterrupt):
            train(configure(), model=fresh_model(), on_step=interrupt_at(step))
    assert_as_uninterrupted(train(configure(), model=fresh_model()))


def test_a_finished_run_is_only_read_again(
    configure, fresh_model, assert_same_weights, read_log, tmp_path
):
    taught = train(configure(), model=fresh_model())
    log = read_log()
    shutil.rmtree(tmp_path / "cache")
    (tmp_path / "run" / "model.safetensors").unlink()
    again = train(configure(), model=fresh_model(), on_step=interrupt_at(1), evaluate=evaluate)
    assert_same_weights(again, taught)
    assert read_log() == log
    assert (tmp_path / "run" / "model.safetensors").exists()


def test_an_interruption_within_a_checkpoint_costs_no_more_than_that_checkpoint(
    configure, fresh_model, assert_as_uninterrupted, monkeypatch, tmp_path
):
    write_tensors, num_files = checkpoint_module.write_tensors, 0

    def write_five_files(path, tensors):
        nonlocal num_files
        num_files += 1
        if num_files == 6:  # the moments of the third checkpoint
            raise KeyboardInterrupt
        write_tensors(path, tensors)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint_module, "write_tensors", write_five_files)
        with pytest.raises(KeyboardInterrupt):
            train(configure(), model=fresh_model())
    folder = tmp_path / "run" / "checkpoints"
    assert sorted(path.name for path in folder.iterdir()) == [
        ".aside",
        "step-00000002",
        "step-00000004",
    ]
    assert_as_uninterrupted(train(configure(), model=fresh_model()))


def test_a_line_that_was_cut_short_is_dropped_from_the_log(
    configure, fresh_model, assert_as_uninterrupted, tmp_path
):
    with pytest.raises(KeyboardInterrupt):
        train(configure(), model=fresh_model(), on_step=interrupt_at(3))
    with (tmp_path / "run" / "log.jsonl").open("a") as file:
        file.write('{"step": 4, "num_st')
    assert_as_uninterrupted(train(configure(), model=fresh_model()))


def test_a_damaged_checkpoint_can_be_deleted_for_the_one_before(
    configure, fresh_model, assert_as_uninterrupted, tmp_path
):
    with pytest.raises(KeyboardInterrupt):
        train(configure(), model=fresh_model(), on_step=interrupt_at(5))
    last = tmp_path / "run" / "checkpoints" / "step-00000004"
    weights = last / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(TrainingError, match=r"step-00000004 cannot be read .* delete it"):
        train(configure(), model=fresh_model())
    shutil.rmtree(last)
    assert_as_uninterrupted(train(configure(), model=fresh_model()))


def test_a_run_with_other_settings_is_refused_and_left_as_it_is(configure, fresh_model, read_log):
    with pytest.raises(KeyboardInterrupt):
        train(configure(), model=fresh_model(), on_step=interrupt_at(5))
    log = read_log()
    with pytest.raises(TrainingError, match=r"other settings: lr was 0\.001 and is 0\.002\. Use"):
        train(configure(lr=2e-3), model=fresh_model())
    assert read_log() == log


def signal_once(process, signum, *, log, num_lines):
    """Send a signal to a process once its log has that many lines; what it says on its way out."""
    deadline = time.monotonic() + DEADLINE
    try:
        while not log.exists() or len(log.read_text().splitlines()) < num_lines:
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < deadline, "the run did not begin"
            time.sleep(0.005)
        process.send_signal(signum)
        return process.communicate(timeout=DEADLINE)[1]
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM])
def test_a_run_that_is_killed_or_stopped_ends_as_one_that_was_not(
    signum, configure, base_folder, pairs_file, assert_same_weights, read_log, tmp_path
):
    options = {"--epochs": 40, "--batch-size": 8, "--lr": 1e-3, "--num-prompts": 4}
    options |= {"--log-every": 1, "--checkpoint-every": 3, "--cache-dtype": "float32"}
    options |= {"--model": base_folder, "--pairs.source": pairs_file, "--accelerator": "cpu"}
    options |= {"--out-dir": tmp_path / "run", "--cache-dir": tmp_path / "cache"}
    command = [sys.executable, "-m", "clipn.cli.main", "train"]
    command += [str(part) for option in options.items() for part in option]
    process = subprocess.Popen(
        command,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    said = signal_once(process, signum, log=tmp_path / "run" / "log.jsonl", num_lines=8)
    if signum == signal.SIGTERM:
        assert process.returncode == 128 + signal.SIGTERM
        assert re.search(r"clipn train: stopped by SIGTERM after step \d+ of 120; .* goes on", said)
    else:
        assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "run" / "model.safetensors").exists()
    assert list((tmp_path / "run" / "checkpoints").glob("step-*"))

    steps = []
    config = configure(epochs=40, checkpoint_every=3)
    resumed = train(config, on_step=lambda record: steps.append(record.step))
    assert 3 < steps[0] < 120
    assert [line["step"] for line in read_log()] == list(range(1, 121))
    uninterrupted = configure(epochs=40, checkpoint_every=3, out_dir=tmp_path / "uninterrupted")
    assert_same_weights(resumed, train(uninterrupted))
    logs = read_log(), read_log(tmp_path / "uninterrupted")
    assert without_speed(logs[0]) == without_speed(logs[1])
    assert json.loads((tmp_path / "run" / "config.json").read_text())["training"]["epochs"] == 40
