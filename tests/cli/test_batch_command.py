from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.dataset as ds
import pytest
from PIL import Image

from clipn.cli.main import run


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for number in range(3):
        values = np.random.default_rng(number).integers(0, 256, (40, 48, 3), dtype=np.uint8)
        (tmp_path / "photos").mkdir(exist_ok=True)
        Image.fromarray(values).save(tmp_path / f"photos/{number}.png")
    (tmp_path / "photos/bad.jpg").write_bytes(b"no image")
    return tmp_path / "photos"


@pytest.fixture
def clipn_batch(
    tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., int]:
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: run(["batch", *arguments, "--classes", "tabby cat, espresso"])


def test_rows_are_written_and_counted(
    clipn_batch: Callable[..., int], capsys: pytest.CaptureFixture[str]
):
    options = ("--embeddings", "float16", "--extra-scores", "msp", "mcm")
    assert clipn_batch("photos", "out", *options) == 0
    assert capsys.readouterr().out == (
        "4 images in, 4 rows out, 1 of them unreadable, in 1 files.\nSaved: out\n"
    )
    rows = ds.dataset("out").to_table()
    assert rows["image"].to_pylist() == ["0.png", "1.png", "2.png", "bad.jpg"]
    assert rows["score_mcm"].null_count == rows["embedding"].null_count == 1
    assert clipn_batch("out", "rescored", "--top-k", "1") == 0
    again = ds.dataset("rescored").to_table()
    np.testing.assert_allclose(again["score"].to_numpy(), rows["score"].to_numpy(), atol=5e-3)


def test_another_run_in_the_folder_is_one_line(
    clipn_batch: Callable[..., int], photos: Path, capsys: pytest.CaptureFixture[str]
):
    assert clipn_batch("photos", "out") == 0
    (photos / "bad.jpg").unlink()
    capsys.readouterr()
    assert clipn_batch("photos", "out") == 1
    error = capsys.readouterr().err
    assert error.startswith("clipn batch: 'file://")
    assert error.count("\n") == 1
    assert clipn_batch("photos", "out", "--existing", "replace") == 0


def test_wrong_numbers_are_wrong_usage(
    clipn_batch: Callable[..., int], capsys: pytest.CaptureFixture[str]
):
    assert clipn_batch("photos", "out", "--workers", "0") == 2
    assert "num_processes must be at least 1; got 0" in capsys.readouterr().err
    assert clipn_batch("photos", "out", "--top-k", "0") == 2
    assert not Path("out").exists()
