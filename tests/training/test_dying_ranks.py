"""A rank that is killed, a restart by torchrun, a stop by torchrun, and the rest in one process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from clipn.training import train

DEADLINE = 300.0  # seconds; a hang, not a slow machine
PROGRAM = Path(__file__).parent / "dying_ranks.py"


@pytest.fixture
def output(configure, base_folder, pairs_file, tmp_path):
    """What was said by torchrun and by two ranks, of which one was killed, until it was stopped."""
    options = {"--model": base_folder, "--pairs.source": pairs_file, "--accelerator": "cpu"}
    options |= {"--epochs": 3, "--batch-size": 8, "--lr": 1e-3, "--eps": 1e-3, "--num-prompts": 4}
    options |= {"--log-every": 1, "--checkpoint-every": 2, "--cache-dtype": "float32"}
    options |= {"--out-dir": tmp_path / "run", "--cache-dir": tmp_path / "cache"}
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    launcher += ["--nproc-per-node", "2", "--max-restarts", "1", "--monitor-interval", "0.1"]
    command = [*launcher, str(PROGRAM), *(str(part) for pair in options.items() for part in pair)]
    # Else new ranks look for each other where those were that are gone.
    own_store = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
    process = subprocess.Popen(
        command, env={**os.environ, "OMP_NUM_THREADS": "1", **own_store},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        return process.communicate(timeout=DEADLINE)[0]
    except subprocess.TimeoutExpired:
        process.terminate()  # torchrun ends its ranks, which have sessions of their own
        return pytest.fail(f"it hung:\n{process.communicate()[0]}")


def test_ranks_that_die_or_are_stopped_cost_nothing_that_is_not_done_again(
    output, configure, tmp_path, read_log
):
    for number, said in [
        (1, "clipn train: Another rank has gone, so rank 0 ends too"),
        (2, "clipn train: stopped by SIGTERM after step 7 of 9; "),
    ]:
        assert output.count(said) == number, f"{said!r} is not there {number} times:\n{output}"
    log = read_log()
    assert [line["step"] for line in log] == list(range(1, 8))
    steps = []
    resumed = train(configure(eps=1e-3), on_step=lambda record: steps.append(record.step))
    assert steps == [8, 9]
    uninterrupted = train(configure(eps=1e-3, out_dir=tmp_path / "uninterrupted"))
    expected = uninterrupted.state_dict()
    for name, tensor in resumed.state_dict().items():
        torch.testing.assert_close(tensor, expected[name], atol=1e-5, rtol=0, msg=name)
