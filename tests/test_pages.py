"""The pages of docs/ that no other test runs, the notebooks, the figures, the site."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from snippets import find_snippets, run_page

PROJECT = Path(__file__).parents[1]
DOCS = PROJECT / "docs"
PAGES = ("index", "detect", "thresholds", "measure", "own-scores", "how-it-works", "migration")
RUN_ELSEWHERE = {"batch", "deployment", "serving", "teaching", "promises", "adapters"}


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the photographs where `clipn demo` puts them."""
    pytest.importorskip("skimage", reason="scikit-image brings the pages' photographs")
    from clipn.cli.demo import copy_whole, find_pictures

    for picture in find_pictures():
        copy_whole(picture, tmp_path / "demo" / "photos" / picture.name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("workplace")
@pytest.mark.parametrize("name", PAGES)
def test_commands_and_lines_print_what_the_page_says(name: str, capsys: pytest.CaptureFixture[str]):
    num_commands, num_lines = run_page(DOCS / f"{name}.md", capsys)
    assert num_commands + num_lines > 0


def test_every_page_with_something_to_run_is_run():
    runnable = {
        page.stem for page in DOCS.glob("*.md") if find_snippets(page, "console", "python", "sh")
    }
    assert runnable - RUN_ELSEWHERE == set(PAGES)


@pytest.mark.parametrize("path", sorted(DOCS.glob("notebooks/*.ipynb")), ids=lambda path: path.stem)
def test_notebooks_run_from_top_to_bottom(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    cells = json.loads(path.read_text())["cells"]
    names = {"__name__": path.stem}
    sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert len(sources) >= 5
    for number, source in enumerate(sources):
        exec(compile(source, f"{path.name}, cell {number}", "exec"), names)
    assert not any(cell.get("outputs") for cell in cells)


def test_commands_in_indented_blocks_which_are_not_run_are_there():
    from clipn.benchmarks.suites import get_suites
    from clipn.cli.main import COMMANDS

    lines = [
        line.strip()
        for page in DOCS.glob("*.md")
        for line in page.read_text().splitlines()
        if line.startswith("    clipn ")
    ]
    assert len(lines) >= 15
    names = [line.split()[1].rstrip(":") for line in lines]
    assert [name for name in names if name not in COMMANDS] == []
    text = "\n".join(page.read_text() for page in DOCS.glob("*.md"))
    suites = set(re.findall(r"clipn eval ([a-z0-9-]+) ", text))
    assert len(suites) >= 2
    for suite in suites:
        assert get_suites(suite)


def test_the_figures_are_what_their_script_draws(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(DOCS / "site")
    import draw_figures

    number = re.compile(r"-?\d+\.\d+")
    for name, draw in draw_figures.DRAWINGS.items():
        drawn, stored = draw(), (DOCS / "figures" / f"{name}.svg").read_text()
        assert number.sub("", drawn) == number.sub("", stored), name
        # A tenth of a pixel may round otherwise on another processor.
        values = [float(value) for value in number.findall(drawn)]
        assert values == pytest.approx([float(v) for v in number.findall(stored)], abs=0.11), name


def test_the_site_is_built_without_a_warning(tmp_path: Path):
    pytest.importorskip("mkdocs", reason='mkdocs is absent: pip install "clipn[docs]"')
    pytest.importorskip("mkdocstrings", reason='mkdocstrings is absent: pip install "clipn[docs]"')
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=PROJECT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    commands = (tmp_path / "site" / "commands.html").read_text()
    assert "usage: clipn detect" in commands
    pages = list((tmp_path / "site").rglob("*.html"))
    fetched = [
        address
        for page in pages
        for address in re.findall(
            r'<(?:link|script|img)[^>]*(?:href|src)="(https?:[^"]+)"', page.read_text()
        )
    ]
    assert fetched == []
