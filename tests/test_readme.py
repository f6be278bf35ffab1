"""Every command of the README is run, and prints what the README says."""

import doctest
import re
import shlex
from pathlib import Path

import pytest

from clipn.cli.main import run

README = Path(__file__).parents[1] / "README.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("skimage", reason="scikit-image brings the README's photographs")
    return tmp_path_factory.mktemp("readme")


def find_blocks(language: str) -> list[str]:
    return [text for kind, text in BLOCK.findall(README.read_text()) if kind == language]


def assert_same_words(printed: str, expected: str) -> None:
    """The same words, and numbers that differ by rounding on another processor at most."""
    words, expected_words = (re.split(r"[\s,]+", text.strip()) for text in (printed, expected))
    assert len(words) == len(expected_words), printed
    for word, expected_word in zip(words, expected_words, strict=True):
        if re.fullmatch(r"-?\d+\.\d+", expected_word):
            assert float(word) == pytest.approx(float(expected_word), abs=0.005), printed
        else:
            assert word == expected_word, printed


def test_shell_commands_print_what_the_readme_says(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(workplace)
    num_commands = 0
    for block in find_blocks("console"):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, expected = part.partition("\n")
            program, *arguments = shlex.split(command)
            assert program == "clipn"
            assert run(arguments) == 0, capsys.readouterr().err
            assert_same_words(capsys.readouterr().out, expected)
            num_commands += 1
    assert num_commands >= 4


def test_python_lines_print_what_the_readme_says(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(workplace)
    assert run(["demo"]) == 0
    capsys.readouterr()
    [source] = find_blocks("python")
    test = doctest.DocTestParser().get_doctest(source, {}, "README", str(README), 0)
    results = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(test)
    assert results.attempted >= 8
    assert results.failed == 0, capsys.readouterr().out


def test_links_to_files_of_the_project_lead_somewhere():
    links = re.findall(r"\]\(([^)#:]+)\)", README.read_text())
    assert links
    assert [link for link in links if not (README.parent / link).exists()] == []
