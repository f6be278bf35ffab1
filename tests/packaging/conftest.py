"""The package as it is published: built without a network, by the backend that is installed."""

import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
HERE = Path(__file__).parent
SECONDS = 600  # a machine with other work is slow, and nothing here measures it


def build(project: Path, target: str, folder: Path) -> Path:
    """Build a distribution of a source tree; returns the file."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", target]
    subprocess.run(
        [*command, "--directory", str(folder)], cwd=project, check=True, capture_output=True
    )
    [file] = folder.iterdir()
    return file


@pytest.fixture(scope="session")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution."""
    pytest.importorskip("hatchling", reason="hatchling, which builds the package, is absent")
    return build(PROJECT, "sdist", tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="session")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built of nothing but the source distribution."""
    folder = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    [tree] = folder.iterdir()
    return build(tree, "wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel's content, as pip installs it."""
    folder = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]
    subprocess.run([*pip, "--no-compile", "--target", str(folder), str(wheel)], check=True)
    return folder


@pytest.fixture
def start_program(
    installed: Path, tmp_path: Path
) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts lines of Python with the installed wheel and some extras; none outlives the test."""
    started = []

    def start(program: str, *, extras: str = "") -> subprocess.Popen[str]:
        file = tmp_path / "program.py"
        file.write_text(program)
        process = subprocess.Popen(
            [sys.executable, "-P", str(HERE / "with_extras.py"), extras, str(file)],
            cwd=tmp_path,
            env={"PYTHONPATH": str(installed), "HF_HUB_OFFLINE": "1", "HOME": str(tmp_path)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def run_program(start_program: Callable[..., subprocess.Popen[str]]) -> Callable[..., str]:
    """Runs such lines to their end; returns what they print."""

    def run(program: str, *, extras: str = "") -> str:
        process = start_program(program, extras=extras)
        printed, complaints = process.communicate(timeout=SECONDS)
        assert process.returncode == 0, printed + complaints
        return printed

    return run
