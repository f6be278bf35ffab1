"""Several ranks in processes of this machine, which begin with everything imported."""

import multiprocessing
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from ports import find_free_port

DEADLINE = 240.0  # seconds; a hang, not a slow machine


def run_ranks(program: Callable[[Path], None], folder: Path, *, num_ranks: int) -> None:
    """Run a program on each of several ranks, with what torchrun tells them; wait for their ends.

    The processes are copies of one that has imported torch and clipn, which takes seconds.

    Args:
        program: A function of a module; called with the folder.
        folder: For what the ranks find; what they print is in `rank-N.log`.
        num_ranks: How many there are.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["clipn.training"])
    together = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(find_free_port()),
        "WORLD_SIZE": str(num_ranks),
        "LOCAL_WORLD_SIZE": str(num_ranks),
        "GROUP_RANK": "0",
        "OMP_NUM_THREADS": "1",
        "TORCHELASTIC_RUN_ID": "tests",
    }
    own = [together | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(num_ranks)]
    processes = [context.Process(target=_begin, args=(program, folder, one)) for one in own]
    for process in processes:
        process.start()
    end = time.monotonic() + DEADLINE
    for process in processes:
        process.join(max(0.0, end - time.monotonic()))
    codes = [process.exitcode for process in processes]
    for process in processes:
        process.kill()
    said = [path.read_text() for path in sorted(folder.glob("rank-*.log"))]
    assert codes == [0] * num_ranks, f"The ranks ended with {codes}; they said {''.join(said)}"


def _begin(program: Callable[[Path], None], folder: Path, environment: Mapping[str, str]) -> None:
    """Be a rank."""
    os.environ.update(environment)
    with (folder / f"rank-{environment['RANK']}.log").open("w") as log:
        for stream in (1, 2):
            os.dup2(log.fileno(), stream)
    import torch

    torch.set_num_threads(1)
    program(folder)
