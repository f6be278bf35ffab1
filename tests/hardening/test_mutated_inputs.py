"""Damaged inputs: refused in one sentence or answered, never anything else.

`battery.py` does the same with any number of them; CLIPN_NUM_MUTATIONS sets it here.
"""

import os
from pathlib import Path

import pytest
from battery import TARGETS
from targets import Arena, Target

NUM_MUTATIONS = int(os.environ.get("CLIPN_NUM_MUTATIONS", "40"))


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_damage_is_refused_or_read(target: Target, tmp_path: Path):
    arena = Arena(target, tmp_path)
    outcomes = [arena.attack(seed) for seed in range(NUM_MUTATIONS)]
    assert "refused" in outcomes or target.name == "pairs in tars"  # there the pair is left out


# Seeds that found something.
@pytest.mark.parametrize(
    ("name", "seed"),
    [
        ("pairs in Parquet files", 455),
        ("pairs in Parquet files", 1342),
        ("model folders, sealed anew", 397),
        ("model folders, sealed anew", 520),
        ("detector folders", 69),
        ("detector folders", 166),
        ("embedding caches", 59),
        ("unfinished caches", 14),
        ("unfinished row caches", 52),
        ("results", 53),
        ("results", 58),
        ("stopped batches", 4299),
        ("stopped batches of exported files", 3781),
        ("kept embeddings", 837),
        ("exported files, sealed anew", 128),
        ("exported files, sealed anew", 551),
        ("exported files, sealed anew", 2507),
        ("reference checkpoints", 32),
        ("reference checkpoints", 40),
        ("reference checkpoints", 1374),
        ("reference checkpoints of old", 53),
        ("reference checkpoints of old", 72),
        ("reference checkpoints of old", 131),
    ],
)
def test_damage_that_once_went_through_is_refused(name: str, seed: int, tmp_path: Path):
    target = next(one for one in TARGETS if one.name == name)
    Arena(target, tmp_path).attack(seed)
