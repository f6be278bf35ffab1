"""What is in the wheel and in the source distribution."""

import hashlib
import json
import tarfile
import zipfile
from email.message import Message
from email.parser import Parser
from importlib.metadata import version
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
PACKAGE = PROJECT / "src" / "clipn"
MAX_MEGABYTES = 40


@pytest.fixture(scope="module")
def archive(wheel: Path) -> zipfile.ZipFile:
    return zipfile.ZipFile(wheel)


@pytest.fixture(scope="module")
def metadata(archive: zipfile.ZipFile) -> Message:
    text = archive.read(f"clipn-{version('clipn')}.dist-info/METADATA").decode()
    return Parser().parsestr(text)


def test_the_wheel_holds_the_whole_package_and_nothing_else(archive: zipfile.ZipFile):
    files = {
        f"clipn/{path.relative_to(PACKAGE).as_posix()}"
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    found = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert found == files


def test_the_wheel_holds_what_is_not_code(archive: zipfile.ZipFile):
    names = set(archive.namelist())
    assert "clipn/py.typed" in names
    assert {f"clipn/serving/web/{name}" for name in ("index.html", "app.js", "style.css")} <= names
    assert {"clipn/report/evaluation.html", "clipn/report/evaluation.css"} <= names
    config = json.loads(archive.read("clipn/model/compact/config.json"))
    weights = archive.read("clipn/model/compact/model.safetensors")
    assert hashlib.sha256(weights).hexdigest() == config["weights_sha256"]
    assert "clipn/model/compact/README.md" in names  # the terms of the weights


def test_the_wheel_says_what_it_is(archive: zipfile.ZipFile, metadata: Message):
    assert metadata["License-Expression"] == "MIT"
    assert metadata["Requires-Python"] == ">=3.11"
    license_file = f"clipn-{version('clipn')}.dist-info/licenses/LICENSE"
    assert archive.read(license_file) == (PROJECT / "LICENSE").read_bytes()
    extras = set(metadata.get_all("Provides-Extra"))
    assert {"serve", "export", "openvino", "batch", "ray", "demo", "devkit"} <= extras
    entry_points = archive.read(f"clipn-{version('clipn')}.dist-info/entry_points.txt").decode()
    assert "clipn = clipn.cli.main:main" in entry_points


def test_every_dependency_has_a_lowest_version(metadata: Message):
    open_ended = [
        line
        for line in metadata.get_all("Requires-Dist")
        if ">=" not in line.partition(";")[0] and not line.startswith("clipn[")
    ]
    assert open_ended == []


def test_the_distributions_are_small_enough_to_be_published(sdist: Path, wheel: Path):
    for file in (sdist, wheel):
        assert file.stat().st_size < MAX_MEGABYTES * 1e6, file


def test_the_source_distribution_holds_what_its_tests_and_documents_need(sdist: Path):
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"tests/test_readme.py", "docs/serving.md", "requirements.lock", "Makefile"} <= names
    assert not any(name.startswith((".ci/", ".venv/", "runs/", "demo/")) for name in names)
