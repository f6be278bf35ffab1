"""Damaged inputs: refused in one sentence or answered, never anything else.

`battery.py` does the same with any number of them; CLIPN_NUM_MUTATIONS sets it here.
"""

import os
from pathlib import Path

import pytest
from own_targets import OWN_TARGETS
from targets import DATA_TARGETS, Arena, Target

NUM_MUTATIONS = int(os.environ.get("CLIPN_NUM_MUTATIONS", "40"))


@pytest.mark.parametrize("target", [*DATA_TARGETS, *OWN_TARGETS], ids=lambda target: target.name)
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
    ],
)
def test_damage_that_once_went_through_is_refused(name: str, seed: int, tmp_path: Path):
    target = next(one for one in (*DATA_TARGETS, *OWN_TARGETS) if one.name == name)
    Arena(target, tmp_path).attack(seed)
