"""Each rank computes the rows of its own pairs, and together they have the loss of all."""

import json
import os
import subprocess
import sys
from pathlib import Path


def test_three_ranks_have_the_loss_and_the_gradient_of_one_process(tmp_path: Path):
    script = Path(__file__).with_name("loss_of_ranks.py")
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    subprocess.run(
        [*launcher, "--nproc-per-node", "3", str(script), str(tmp_path)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=True,
        capture_output=True,
        timeout=240,
    )
    reports = [json.loads(path.read_text()) for path in sorted(tmp_path.glob("rank-*.json"))]
    assert len(reports) == 3
    for report in (case for rank in reports for case in rank):
        assert report["losses"] < 1e-12
        assert report["gradient"] < 1e-12
        assert report["is_a_share"]
