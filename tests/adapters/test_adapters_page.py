"""The Python of docs/adapters.md is run, and prints what it says."""

import warnings
from pathlib import Path

import pytest
from snippets import find_snippets, run_lines

from clipn.cli.demo import find_pictures
from clipn.data.images import read_image

PAGE = Path(__file__).parents[2] / "docs/adapters.md"


def test_the_python_prints_what_the_page_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("demo/photos").mkdir(parents=True)
    pictures = find_pictures()
    for picture in pictures:
        Path("demo/photos", picture.name).write_bytes(picture.read_bytes())
    names = {"images": [read_image(picture) for picture in pictures]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pytorch-ood warns when it is imported
        num_lines = [run_lines(text, names, page=PAGE) for _, text in find_snippets(PAGE, "python")]
    assert len(num_lines) == 4
