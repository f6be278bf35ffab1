"""The installed wheel does what it says with the dependencies that it asks for, and no others."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import pytest
from PIL import Image

RunProgram = Callable[..., str]
StartProgram = Callable[..., subprocess.Popen[str]]

COMMANDS = """
import sys
from clipn.cli.main import run

def command(line):
    code = run(line.split())
    print("exit", code, flush=True)
"""


@pytest.fixture(autouse=True)
def _photo(tmp_path: Path) -> None:
    """An image to ask about."""
    values = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    Image.fromarray(values).save(tmp_path / "photo.png")


def test_the_base_dependencies_suffice_to_detect_calibrate_and_evaluate(
    run_program: RunProgram, installed: Path
):
    printed = run_program(
        COMMANDS
        + """
import clipn
print(clipn.__file__)
for name in clipn.__all__:
    assert getattr(clipn, name) is not None
command("--help")
command("detect photo.png --classes espresso --csv -")
command("calibrate photo.png --classes espresso --out-dir mine")
command("detect photo.png --detector mine --csv -")
command("list scores")
command("eval compact-cifar10 --data-root . --check")
"""
    )
    assert printed.splitlines()[0] == str(installed / "clipn" / "__init__.py")
    assert "image,label,score,is_ood,best_class,error,p_value\nphoto.png," in printed
    # The last one finds no data sets, as it should.
    assert [line for line in printed.splitlines() if "exit" in line] == ["exit 0"] * 5 + ["exit 1"]


def test_what_needs_an_extra_names_it(run_program: RunProgram):
    printed = run_program(
        COMMANDS
        + """
sys.stderr = sys.stdout
command("demo")
command("serve --port 0")
command("export --classes espresso --out detector.onnx")
command("batch . answers --classes espresso --engine ray")
"""
    )
    lines = printed.splitlines()
    for extra, complaint, code in zip(
        ("demo", "serve", "export", "ray"), lines[::2], lines[1::2], strict=True
    ):
        assert f"clipn[{extra}]" in complaint, printed
        assert code in ("exit 1", "exit 2"), printed


def test_extra_batch(run_program: RunProgram):
    printed = run_program(
        COMMANDS + 'command("batch photo.png answers --classes espresso")', extras="batch"
    )
    assert printed.startswith("1 images in, 1 rows out")


def test_extra_serve(start_program: StartProgram):
    process = start_program(
        COMMANDS + 'command("serve --classes espresso --port 0")', extras="serve"
    )
    assert process.stdout is not None
    address = re.search(r"http://\S+/", process.stdout.readline())
    assert address, process.communicate()
    with urlopen(f"{address[0]}healthz") as answer:
        assert answer.status == 200
    with urlopen(address[0]) as page:
        assert b"<title>" in page.read()
    process.terminate()
    printed, complaints = process.communicate(timeout=600)
    assert printed == "exit 0\n", complaints


def test_extras_export_and_openvino(run_program: RunProgram, tmp_path: Path):
    lines = COMMANDS + 'command("export --classes espresso --out detector.onnx")\n'
    printed = run_program(
        lines + 'command("detect photo.png --detector detector.onnx --csv -")', extras="export"
    )
    assert "photo.png," in printed
    assert printed.endswith("exit 0\n")
    answers = run_program(
        COMMANDS
        + 'command("detect photo.png --detector detector.onnx --runtime openvino --csv -")',
        extras="openvino",
    )
    assert "photo.png," in answers


def test_extra_demo(run_program: RunProgram):
    printed = run_program(
        "from clipn.cli.demo import find_pictures\nprint(len(find_pictures()))", extras="demo"
    )
    assert int(printed) > 10


def test_extra_adapters(run_program: RunProgram):
    """But torchmetrics, which imports whatever else is installed here, and so cannot be alone."""
    run_program(
        "from clipn.adapters import EmbeddingOutlierDetector, PytorchOodDetector\n"
        "EmbeddingOutlierDetector().fit([[1.0, 0.0], [0.9, 0.1]])",
        extras="adapters",
    )


def test_extra_tracking(run_program: RunProgram):
    printed = run_program(
        "import wandb\nfrom pathlib import Path\nfrom clipn.tracking import open_tracker\n"
        "with open_tracker('tensorboard', Path('run')) as tracker:\n"
        "    tracker.log({'loss': 1.0}, step=1)\n"
        "print(len(list(Path('run/tensorboard').iterdir())))",
        extras="tracking",
    )
    assert int(printed) == 1


def test_extra_devkit(run_program: RunProgram):
    run_program("from scipy.io import loadmat", extras="devkit")


def test_extra_ray(run_program: RunProgram):
    run_program("import clipn.batch.ray_engine, clipn.serving.ray_serve", extras="ray")
