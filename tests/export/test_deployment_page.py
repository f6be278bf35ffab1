"""The commands and lines of docs/deployment.md are run, and print what it says."""

from pathlib import Path

import pytest
from snippets import run_page

PAGE = Path(__file__).parents[2] / "docs/deployment.md"


def test_commands_and_lines_print_what_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    pytest.importorskip("skimage", reason="scikit-image brings the page's photographs")
    pytest.importorskip("openvino", reason='OpenVINO is absent: pip install "clipn[openvino]"')
    from clipn.cli.demo import copy_whole, find_pictures

    monkeypatch.chdir(tmp_path)
    for source in find_pictures():
        if source.name in ("coffee.png", "rocket.jpg"):
            copy_whole(source, tmp_path / "photos" / source.name)
    assert run_page(PAGE, capsys, tolerance=0.1) == (2, 6)
