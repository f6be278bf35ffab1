"""Work that is killed at random moments ends like work in peace; `kills.py` takes any number."""

import subprocess
import sys
from pathlib import Path


def test_work_that_is_killed_ends_as_if_it_had_not_been():
    program = [sys.executable, str(Path(__file__).parent / "kills.py"), "--count", "2"]
    done = subprocess.run(program, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("0 ended otherwise") == 4
