"""The commands and the Python of docs/promises.md are run, and print what it says."""

import io
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image
from snippets import find_snippets, run_command, run_lines, split_commands

from clipn.cli.demo import find_pictures
from clipn.cli.main import run
from clipn.data.class_names import read_class_list

PAGE = Path(__file__).parents[1] / "docs/promises.md"


@pytest.fixture(scope="module")
def encoded(shared_dir: Path) -> list[bytes]:
    table = pq.read_table(shared_dir / "data/cifar10_test.parquet", columns=["image"])
    return [row["bytes"] for row in table.slice(0, 180).column("image").to_pylist()]


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoded: list[bytes]) -> Path:
    """A folder with the photographs and the names that the page speaks of."""
    monkeypatch.chdir(tmp_path)
    for folder in ("demo/photos", "my-photos"):
        Path(folder).mkdir(parents=True)
    [moon] = [picture for picture in find_pictures() if picture.name == "moon.png"]
    Path("demo/photos/moon.png").write_bytes(moon.read_bytes())
    for number, data in enumerate(encoded[:40]):
        Image.open(io.BytesIO(data)).save(f"my-photos/{'cat' if number == 0 else number}.png")
    Path("names.txt").write_text("\n".join(read_class_list("cifar10").values()))
    return tmp_path


@pytest.mark.usefixtures("workplace")
def test_the_python_prints_what_the_page_says(encoded: list[bytes]):
    names = {"id_images": encoded[:150], "new_images": encoded[150:]}
    num_lines = [run_lines(text, names, page=PAGE) for _, text in find_snippets(PAGE, "python")]
    assert len(num_lines) == 2


@pytest.mark.usefixtures("workplace")
def test_the_commands_print_what_the_page_says(capsys: pytest.CaptureFixture[str]):
    [calibrate, explain] = (split_commands(text) for _, text in find_snippets(PAGE, "console"))
    for line, _ in calibrate:  # on photographs of one's own: the page does not say what comes out
        assert run(line.replace('"', "").split()[1:]) == 0
    for line, expected in explain:
        run_command(line, expected, capsys, tolerance=0.011)
