"""The commands and the Python of docs/promises.md are run, and print what it says."""

import doctest
import io
import re
import shlex
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image

from clipn.cli.demo import find_pictures
from clipn.cli.main import run
from clipn.data.class_names import read_class_list

PAGE = Path(__file__).parents[1] / "docs/promises.md"


@pytest.fixture(scope="module")
def encoded(shared_dir: Path) -> list[bytes]:
    table = pq.read_table(shared_dir / "data/cifar10_test.parquet", columns=["image"])
    return [row["bytes"] for row in table.slice(0, 180).column("image").to_pylist()]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder with the photographs that the page speaks of."""
    monkeypatch.chdir(tmp_path)
    Path("demo/photos").mkdir(parents=True)
    for picture in find_pictures():
        if picture.name == "moon.png":
            Path("demo/photos/moon.png").write_bytes(picture.read_bytes())
    return tmp_path


def assert_same_words(printed: str, expected: str) -> None:
    """The same words, and numbers that differ by rounding on another processor at most."""
    number = r"-?\d+\.\d+"
    assert re.sub(number, "#", printed).split() == re.sub(number, "#", expected).split()
    found, told = (list(map(float, re.findall(number, text))) for text in (printed, expected))
    assert found == pytest.approx(told, abs=0.011)


@pytest.mark.usefixtures("place")
def test_the_python_prints_what_the_page_says(encoded: list[bytes]):
    names = {"id_images": encoded[:150], "new_images": encoded[150:]}
    parser, runner = doctest.DocTestParser(), doctest.DocTestRunner()
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        runner.run(parser.get_doctest(block, names, "promises.md", str(PAGE), 0))
    assert runner.tries > 10
    assert runner.failures == 0


@pytest.mark.usefixtures("place")
def test_the_commands_print_what_the_page_says(
    encoded: list[bytes], capsys: pytest.CaptureFixture[str]
):
    Path("my-photos").mkdir()
    for number, data in enumerate(encoded[:40]):
        Image.open(io.BytesIO(data)).save(f"my-photos/{'cat' if number == 0 else number}.png")
    Path("names.txt").write_text("\n".join(read_class_list("cifar10").values()))
    blocks = re.findall(r"^```console\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    commands = [part for block in blocks for part in re.split(r"^\$ ", block, flags=re.M)[1:]]
    assert len(commands) == 3
    for command in commands:
        line, _, expected = command.partition("\n")
        assert run(shlex.split(line)[1:]) == 0
        printed = capsys.readouterr().out
        if expected:
            assert_same_words(printed, expected)
