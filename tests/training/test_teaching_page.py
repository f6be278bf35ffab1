"""The commands of docs/teaching.md are run, with a tiny CLIP and few pairs."""

import re
import shlex
import shutil
from pathlib import Path

import pytest
from snippets import find_snippets

from clipn.cli.main import run
from clipn.model import load_model

PAGE = Path(__file__).parents[2] / "docs" / "teaching.md"
CHANGES = {"ViT-B-16/laion2b_s34b_b88k": "clip", "cc3m": "pairs.parquet", "/shared/my-model": "b"}


def find_commands():
    """The options of every `clipn train`, as they are or under torchrun."""
    text = "".join(text for _, text in find_snippets(PAGE, "sh"))
    lines = text.replace("\\\n", " ").splitlines()
    commands = [shlex.split(line) for line in lines]
    assert len(commands) >= 5
    return [words[words.index("train") :] for words in commands]


@pytest.fixture
def workplace(tmp_path, monkeypatch, base_folder, pairs_file):
    shutil.copytree(base_folder, tmp_path / "clip")
    shutil.copy(pairs_file, tmp_path / "pairs.parquet")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_commands_teach_and_go_on(workplace, capsys):
    for words in find_commands():
        command = [CHANGES.get(word, word) for word in words]
        assert run(command) == 0, capsys.readouterr().err
    assert load_model(workplace / "my-model").has_no
    assert load_model(workplace / "b").has_no


def test_the_links_and_options_of_the_page_are_there(capsys):
    text = PAGE.read_text()
    links = re.findall(r"\]\(([^)#:]+)\)", text)
    assert [link for link in links if not (PAGE.parent / link).exists()] == []
    assert run(["train", "--help"]) == 0
    known = capsys.readouterr().out
    options = set(re.findall(r"`(--[a-z.-]+)", text))
    assert [option for option in options if option not in known] == []
