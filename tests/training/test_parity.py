"""Four processes over gloo, on two nodes, learn what one process learns."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from ports import find_free_port

from clipn.model import load_model
from clipn.training import train

DEADLINE = 300.0  # seconds; a hang, not a slow machine
NUM_RANKS = 4

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


torch.manual_seed(0)
everything = torch.randn(3 * num_ranks, 5).requires_grad_()
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


def run_to_their_end(commands: Sequence[list[str]]) -> None:
    """Run commands beside each other with all their children; none outlives the deadline."""
    processes = [
        subprocess.Popen(
            command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True,
        )
        for command in commands
    ]  # fmt: skip
    try:
        outputs = [process.communicate(timeout=DEADLINE)[0] for process in processes]
    except subprocess.TimeoutExpired:
        for process in processes:
            process.terminate()  # torchrun ends its ranks, which have sessions of their own
        pytest.fail(f"it hung:\n{''.join(process.communicate()[0] for process in processes)}")
    assert [process.returncode for process in processes] == [0] * len(commands), outputs


@pytest.fixture(scope="module")
def several_files(tmp_path_factory, pairs_file):
    """The pairs in three files: they cannot be shared out evenly, and not to each of four ranks."""
    folder = tmp_path_factory.mktemp("several")
    table = pd.read_parquet(pairs_file)
    for number, rows in enumerate((slice(0, 11), slice(11, 16), slice(16, 24))):
        table[rows].to_parquet(folder / f"{number}.parquet")
    return folder


@pytest.fixture(scope="module")
def taught(tmp_path_factory, several_files, base_folder):
    """The folder in which the ranks have taught."""
    folder = tmp_path_factory.mktemp("ranks")
    (folder / "rank.py").write_text(RANK)
    options = {"--model": base_folder, "--pairs.source": several_files, "--accelerator": "cpu"}
    options |= {"--epochs": 3, "--batch-size": 8, "--lr": 1e-3, "--eps": 1e-3, "--num-prompts": 4}
    options |= {"--log-every": 1, "--checkpoint-every": 2, "--cache-dtype": "float32"}
    options |= {"--out-dir": folder / "run"}
    program = ["--nproc-per-node", "2", str(folder / "rank.py"), str(folder)]
    program += [str(part) for option in options.items() for part in option]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2"]
    launcher += ["--master-addr", "127.0.0.1", "--master-port", str(find_free_port())]
    run_to_their_end([[*launcher, "--node-rank", node, *program] for node in ("0", "1")])
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
        torch.testing.assert_close(tensor, weights[name], atol=1e-5, rtol=0, msg=name)


def test_what_is_gathered_has_the_gradient_of_one_process(taught):
    ranks = range(NUM_RANKS)
    reports = [json.loads((taught / f"rank-{rank}.json").read_text()) for rank in ranks]
    assert (
        reports
        == [
            {
                "num_ranks": NUM_RANKS,
                "is_gathered": True,
                "is_gathered_when_transposed": True,
                "is_gradient": True,
                "keys": [key for rank in ranks for key in (10 * rank, 2**62 + rank)],
            }
        ]
        * NUM_RANKS
    )


def test_a_rank_parts_from_the_others_before_its_process_ends(taught):
    # Else gloo's threads abort the process now and then, after all its work is done.
    endings = [taught / f"end-{rank}.txt" for rank in range(NUM_RANKS)]
    assert [ending.read_text() for ending in endings] == ["parted"] * NUM_RANKS


def test_ranks_log_the_losses_of_one_process(taught, one_process, read_log):
    log, expected = read_log(taught / "run"), read_log(one_process)
    assert [line["step"] for line in log] == list(range(1, 10))
    for name in ("loss", "itbo_diagonal", "itbo_off_diagonal", "tso", "lr", "epoch"):
        values, wanted = ([line[name] for line in lines] for lines in (log, expected))
        assert values[0] == pytest.approx(wanted[0], rel=1e-5)
        # AdamW divides by gradients that are nearly zero, which magnifies their rounding.
        assert values == pytest.approx(wanted, abs=5e-4)


def test_ranks_learn_the_weights_of_one_process(taught, one_process, fresh_model):
    model = load_model(taught / "run")
    assert_close(model, load_model(one_process))
    untaught = fresh_model()
    untaught.add_no_tower(num_prompts=4)
    learned = (model.no_tower.prompts - untaught.no_tower.prompts).abs().max()
    assert learned > 1e-4


def test_ranks_build_the_cache_of_one_process(taught, one_process):
    for path in (one_process / "cache").glob("*.npy"):
        np.testing.assert_array_equal(np.load(taught / "run/cache" / path.name), np.load(path))
    manifests = [
        json.loads((folder / "cache" / "manifest.json").read_text())
        for folder in (taught / "run", one_process)
    ]
    assert manifests[0] == manifests[1]


def test_one_process_goes_on_from_a_checkpoint_of_several_ranks(
    taught, configure, several_files, tmp_path
):
    run = Path(shutil.copytree(taught / "run", tmp_path / "run"))
    shutil.rmtree(run / "checkpoints" / "step-00000009")
    steps = []
    config = configure(eps=1e-3, cache_dir=None, pairs={"source": str(several_files)})
    resumed = train(config, on_step=lambda record: steps.append(record.step))
    assert steps == [9]
    assert_close(resumed, load_model(taught / "run"))
