"""The commands of docs/batch.md are run, and print what it says."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clipn.cli.main import run

PAGE = Path(__file__).parents[2] / "docs/batch.md"


def test_commands_print_what_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    for number in range(14):
        values = np.random.default_rng(number).integers(0, 256, (40, 48, 3), dtype=np.uint8)
        Image.fromarray(values).save(f"photos/{number:02d}.png")
    blocks = re.findall(r"^```console\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    commands = [part for block in blocks for part in re.split(r"^\$ ", block, flags=re.M)[1:]]
    assert len(commands) == 2
    for command in commands:
        line, _, expected = command.partition("\n")
        program, *arguments = shlex.split(line)
        assert program == "clipn"
        assert run(arguments) == 0
        assert capsys.readouterr().out == expected
