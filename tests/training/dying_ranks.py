"""Runs on each of two ranks: teaches, is killed, restarts, and is stopped.

    python -m torch.distributed.run --nproc-per-node 2 --max-restarts 1 dying_ranks.py OPTIONS

The options are those of `clipn train`. At first rank 1 is killed within its fifth step. Once both
have been started anew, torchrun itself is asked to end while rank 0 is within its seventh.
"""

import os
import signal
import sys
from typing import Any

from clipn.cli.main import run
from clipn.training.batches import Batch, BatchPlan

read = BatchPlan.read


def stop_all(signum: signal.Signals) -> None:
    """Signal torchrun, and wait for what it passes on, so that the step of the end is certain.

    A signal may come to any thread, and before the main one waits; the pipe tells in each case.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer)
    os.kill(os.getppid(), signum)
    os.read(reader, 1)


def read_or_end(plan: BatchPlan, step: int, **part: Any) -> Batch:
    """Read a batch, and meet what happens in that step."""
    attempt, rank = (int(os.environ[name]) for name in ("TORCHELASTIC_RESTART_COUNT", "RANK"))
    if (attempt, rank, step) == (0, 1, 4):
        os.kill(os.getpid(), signal.SIGKILL)
    if (attempt, rank, step) == (1, 0, 6):
        stop_all(signal.SIGTERM)
    return read(plan, step, **part)


if __name__ == "__main__":
    BatchPlan.read = read_or_end
    sys.exit(run(["train", *sys.argv[1:]]))
