"""The commands and lines of docs/deployment.md are run, and print what it says."""

import doctest
import re
import shlex
from pathlib import Path

import pytest

from clipn.cli.main import run

PAGE = Path(__file__).parents[2] / "docs/deployment.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def assert_same_words(printed: str, expected: str) -> None:
    """The same words, and numbers that differ by rounding on another processor at most."""
    words, expected_words = (re.split(r"[\s,]+", text.strip()) for text in (printed, expected))
    assert len(words) == len(expected_words), printed
    for word, expected_word in zip(words, expected_words, strict=True):
        if re.fullmatch(r"-?\d+\.\d+", expected_word):
            assert float(word) == pytest.approx(float(expected_word), abs=0.1), printed
        else:
            assert word == expected_word, printed


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
    blocks = BLOCK.findall(PAGE.read_text())
    [console] = [text for kind, text in blocks if kind == "console"]
    for part in re.split(r"^\$ ", console, flags=re.MULTILINE)[1:]:
        command, _, expected = part.partition("\n")
        program, *arguments = shlex.split(command)
        assert program == "clipn"
        assert run(arguments) == 0, capsys.readouterr().err
        assert_same_words(capsys.readouterr().out, expected)
    [python] = [text for kind, text in blocks if kind == "python"]
    test = doctest.DocTestParser().get_doctest(python, {}, "deployment", str(PAGE), 0)
    results = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(test)
    assert results.attempted == 6
    assert results.failed == 0, capsys.readouterr().out
