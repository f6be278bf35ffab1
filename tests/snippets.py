"""The snippets of a page: found, run from top to bottom, compared with what the page says."""

import doctest
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from clipn.cli.main import run

FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
DOCTEST_OPTIONS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
ANYTHING = "..."


def find_snippets(page: Path, *languages: str) -> list[tuple[str, str]]:
    """Language and text of every fenced block of a page, or of those in some languages."""
    found = FENCE.findall(page.read_text(encoding="utf-8"))
    return [(language, text) for language, text in found if not languages or language in languages]


def split_commands(text: str) -> list[tuple[str, str]]:
    """Command lines after "$ ", each with what it prints."""
    parts = re.split(r"^\$ ", text.replace("\\\n", " "), flags=re.MULTILINE)[1:]
    return [(line, printed) for line, _, printed in (part.partition("\n") for part in parts)]


def assert_same_words(printed: str, expected: str, *, tolerance: float = 0.005) -> None:
    """The same words ("..." ends any), and numbers that differ by rounding at most."""
    words, expected_words = (re.split(r"[\s,]+", text.strip()) for text in (printed, expected))
    assert len(words) == len(expected_words), printed
    for word, expected_word in zip(words, expected_words, strict=True):
        if expected_word.endswith(ANYTHING):
            assert word.startswith(expected_word.removesuffix(ANYTHING)), printed
        elif re.fullmatch(r"-?\d+\.\d+", expected_word):
            assert float(word) == pytest.approx(float(expected_word), abs=tolerance), printed
        else:
            assert word == expected_word, printed


def run_command(
    line: str, expected: str, capsys: pytest.CaptureFixture[str], *, tolerance: float = 0.005
) -> None:
    """Run a command of clipn's in this process, and compare what it prints."""
    program, *arguments = shlex.split(line)
    assert program == "clipn", line
    capsys.readouterr()
    code = run(arguments)
    printed = capsys.readouterr()
    assert code == 0, printed.err
    assert_same_words(printed.out, expected, tolerance=tolerance)


def run_lines(text: str, names: dict[str, Any], *, page: Path) -> int:
    """Run lines after ">>>" as a doctest; returns how many there were."""
    test = doctest.DocTestParser().get_doctest(text, names, page.name, str(page), 0)
    complaints: list[str] = []
    runner = doctest.DocTestRunner(optionflags=DOCTEST_OPTIONS)
    results = runner.run(test, out=complaints.append, clear_globs=False)
    names.update(test.globs)
    assert results.failed == 0, "".join(complaints)
    return results.attempted


def run_page(
    page: Path, capsys: pytest.CaptureFixture[str], *, tolerance: float = 0.005
) -> tuple[int, int]:
    """Run all commands and lines of a page, in its order.

    Returns:
        How many commands and how many lines there were.
    """
    names: dict[str, Any] = {}
    num_commands = num_lines = 0
    for language, text in find_snippets(page, "console", "python"):
        if language == "python":
            num_lines += run_lines(text, names, page=page)
            continue
        for line, expected in split_commands(text):
            run_command(line, expected, capsys, tolerance=tolerance)
            num_commands += 1
    return num_commands, num_lines
