"""Each rank computes the rows of its own pairs, and together they have the loss of all."""

import json
from pathlib import Path

import loss_of_ranks
from ranks import run_ranks


def test_three_ranks_have_the_loss_and_the_gradient_of_one_process(tmp_path: Path):
    run_ranks(loss_of_ranks.main, tmp_path, num_ranks=3)
    reports = [json.loads(path.read_text()) for path in sorted(tmp_path.glob("rank-*.json"))]
    assert len(reports) == 3
    for report in (case for rank in reports for case in rank):
        assert report["losses"] < 1e-12
        assert report["gradient"] < 1e-12
        assert report["is_a_share"]
