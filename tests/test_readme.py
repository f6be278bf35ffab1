"""Every command of the README is run, and prints what the README says."""

import re
from pathlib import Path

import pytest
from snippets import run_page

README = Path(__file__).parents[1] / "README.md"


def test_commands_and_lines_print_what_the_readme_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    pytest.importorskip("skimage", reason="scikit-image brings the README's photographs")
    monkeypatch.chdir(tmp_path)
    num_commands, num_lines = run_page(README, capsys)
    assert num_commands >= 4
    assert num_lines >= 8


def test_links_to_files_of_the_project_lead_somewhere():
    links = re.findall(r"\]\(([^)#:]+)\)", README.read_text())
    assert links
    assert [link for link in links if not (README.parent / link).exists()] == []
