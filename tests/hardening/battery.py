"""Damage inputs of every kind and see what clipn makes of them.

python tests/hardening/battery.py                       # 300 of each kind
python tests/hardening/battery.py --count 10000 --only images
"""

import argparse
import collections
import faulthandler
import tempfile
import time
import traceback
import warnings
from pathlib import Path

from batch_targets import BATCH_TARGETS
from exchange_targets import EXCHANGE_TARGETS
from own_targets import OWN_TARGETS
from targets import DATA_TARGETS, Arena, Target

TARGETS = (*DATA_TARGETS, *OWN_TARGETS, *BATCH_TARGETS, *EXCHANGE_TARGETS)

SLOWEST = 20.0
"""Seconds after which one input is taken for a hang."""


def attack(target: Target, count: int, first: int = 0) -> collections.Counter[str]:
    """Damage a target many times; what is wrong is printed with its seed."""
    outcomes: collections.Counter[str] = collections.Counter()
    with tempfile.TemporaryDirectory() as folder:
        arena = Arena(target, Path(folder))
        for seed in range(first, first + count):
            faulthandler.dump_traceback_later(SLOWEST, exit=True)
            began = time.monotonic()
            try:
                outcomes[arena.attack(seed)] += 1
            except Exception:  # noqa: BLE001 - whatever comes here is a finding
                outcomes["WRONG"] += 1
                print(target.name, "seed", seed, traceback.format_exc().splitlines()[-1])
            outcomes["slowest"] = max(outcomes["slowest"], round(1000 * (time.monotonic() - began)))
    faulthandler.cancel_dump_traceback_later()
    return outcomes


def main() -> None:
    """Attack the targets that are asked for and print a row for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    warnings.simplefilter("error")
    for target in TARGETS:
        if options.only in target.name:
            began = time.monotonic()
            outcomes = attack(target, options.count, options.first)
            print(f"{target.name}: {dict(outcomes)}, {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
