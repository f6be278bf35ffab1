"""Two processes over gloo learn what one process learns."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from clipn.model import load_model
from clipn.training import train

DEADLINE = 300.0  # seconds; a hang, not a slow machine

# Runs on each rank: the command as torchrun starts it, then `gather` on rows of its own.
RANK = """
import atexit, json, os, sys
from pathlib import Path

import torch
from clipn import distributed
from clipn.cli.main import run


def say_whether_joined():
    ending = Path(sys.argv[1], f"end-{os.environ['RANK']}.txt")
    ending.write_text("joined" if torch.distributed.is_initialized() else "parted")


atexit.register(say_whether_joined)  # the first to be registered is the last to be called
status = run(["train", *sys.argv[2:]])
if status:
    sys.exit(status)
rank, num_ranks = distributed.rank(), distributed.world_size()


def loss_of(rows):
    weights = torch.linspace(-1, 1, len(rows) ** 2).view(len(rows), -1)
    return ((rows @ rows.T).softmax(dim=1) * weights).sum()


everything = torch.randn(6, 5, generator=torch.Generator().manual_seed(0)).requires_grad_()
expected = torch.autograd.grad(loss_of(everything), everything)[0][3 * rank : 3 * rank + 3]
own = everything.detach()[3 * rank : 3 * rank + 3].clone().requires_grad_()
gathered = distributed.gather(own)
found = torch.autograd.grad(loss_of(gathered), own)[0]
transposed = everything.detach()[3 * rank : 3 * rank + 3].T.contiguous().T
report = {
    "num_ranks": num_ranks,
    "is_gathered": torch.equal(gathered, everything),
    "is_gathered_when_transposed": torch.equal(distributed.gather(transposed), everything),
    # The average over the ranks is what DistributedDataParallel makes of it.
    "is_gradient": torch.equal(found / num_ranks, expected) and bool(expected.abs().max() > 0.01),
    "keys": distributed.gather(torch.tensor([10 * rank, 2**62 + rank])).tolist(),
}
distributed.exchange(None)
Path(sys.argv[1], f"rank-{rank}.json").write_text(json.dumps(report))
"""


def run_to_its_end(command: list[str], env: dict[str, str]) -> None:
    """Run a command and all its children; none of them outlives the deadline."""
    process = subprocess.Popen(
        command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        output, _ = process.communicate(timeout=DEADLINE)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        pytest.fail(f"it hung:\n{output}")
    assert process.returncode == 0, output


@pytest.fixture(scope="module")
def several_files(tmp_path_factory, pairs_file):
    """The pairs in three files, so that there is something to share out."""
    folder = tmp_path_factory.mktemp("several")
    table = pd.read_parquet(pairs_file)
    for number in range(3):
        table[8 * number : 8 * number + 8].to_parquet(folder / f"{number}.parquet")
    return folder


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory, several_files, base_folder):
    """The folder in which two ranks have taught."""
    folder = tmp_path_factory.mktemp("two-ranks")
    (folder / "rank.py").write_text(RANK)
    options = {"--model": base_folder, "--pairs.source": several_files, "--accelerator": "cpu"}
    options |= {"--epochs": 3, "--batch-size": 8, "--lr": 1e-3, "--eps": 1e-3, "--num-prompts": 4}
    options |= {"--log-every": 1, "--checkpoint-every": 2, "--cache-dtype": "float32"}
    options |= {"--out-dir": folder / "run"}
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command = [*launcher, "--nproc-per-node", "2", str(folder / "rank.py"), str(folder)]
    command += [str(part) for option in options.items() for part in option]
    run_to_its_end(command, {**os.environ, "OMP_NUM_THREADS": "1"})
    return folder


@pytest.fixture
def one_process(configure, several_files, tmp_path):
    """The folder in which one process has taught the same."""
    config = configure(eps=1e-3, cache_dir=None, pairs={"source": str(several_files)})
    train(config)
    return tmp_path / "run"


def assert_close(model, other):
    weights = other.state_dict()
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(tensor, weights[name], atol=1e-6, rtol=0, msg=name)


@pytest.mark.parametrize("rank", [0, 1])
def test_what_is_gathered_has_the_gradient_of_one_process(two_ranks, rank):
    report = json.loads((two_ranks / f"rank-{rank}.json").read_text())
    assert report == {
        "num_ranks": 2,
        "is_gathered": True,
        "is_gathered_when_transposed": True,
        "is_gradient": True,
        "keys": [0, 2**62, 10, 2**62 + 1],
    }


@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_parts_from_the_others_before_its_process_ends(two_ranks, rank):
    # Else gloo's threads abort the process now and then, after all its work is done.
    assert (two_ranks / f"end-{rank}.txt").read_text() == "parted"


def test_two_ranks_log_the_losses_of_one_process(two_ranks, one_process, read_log):
    log, expected = read_log(two_ranks / "run"), read_log(one_process)
    assert [line["step"] for line in log] == list(range(1, 10))
    for name in ("loss", "itbo_diagonal", "itbo_off_diagonal", "tso", "lr", "epoch"):
        found = [line[name] for line in log]
        assert found == pytest.approx([line[name] for line in expected], abs=1e-5)


def test_two_ranks_learn_the_weights_of_one_process(two_ranks, one_process, fresh_model):
    taught = load_model(two_ranks / "run")
    assert_close(taught, load_model(one_process))
    untaught = fresh_model()
    untaught.add_no_tower(num_prompts=4)
    learned = (taught.no_tower.prompts - untaught.no_tower.prompts).abs().max()
    assert learned > 1e-4


def test_two_ranks_build_the_cache_of_one_process(two_ranks, one_process):
    for path in (one_process / "cache").glob("*.npy"):
        np.testing.assert_array_equal(
            np.load(two_ranks / "run" / "cache" / path.name), np.load(path)
        )
    manifests = [
        json.loads((folder / "cache" / "manifest.json").read_text())
        for folder in (two_ranks / "run", one_process)
    ]
    assert manifests[0] == manifests[1]


def test_one_process_goes_on_from_a_checkpoint_of_two_ranks(
    two_ranks, configure, several_files, tmp_path
):
    run = Path(shutil.copytree(two_ranks / "run", tmp_path / "run"))
    shutil.rmtree(run / "checkpoints" / "step-00000009")
    steps = []
    config = configure(eps=1e-3, cache_dir=None, pairs={"source": str(several_files)})
    resumed = train(config, on_step=lambda record: steps.append(record.step))
    assert steps == [9]
    assert_close(resumed, load_model(two_ranks / "run"))
