"""The commands of docs/batch.md are run, and print what it says."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from snippets import run_page

PAGE = Path(__file__).parents[2] / "docs/batch.md"


def test_commands_print_what_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    for number in range(14):
        values = np.random.default_rng(number).integers(0, 256, (40, 48, 3), dtype=np.uint8)
        Image.fromarray(values).save(f"photos/{number:02d}.png")
    assert run_page(PAGE, capsys) == (2, 0)
