"""The curl commands of docs/serving.md answer what the page says."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from snippets import find_snippets, split_commands

from clipn.serving.schemas import ClassSetContent

PAGE = Path(__file__).parents[2] / "docs" / "serving.md"
SERVICE = "http://127.0.0.1:8000/"


@pytest.fixture(scope="module")
def folder(photos, tmp_path_factory) -> Path:
    """Where the photographs of `clipn demo` are."""
    folder = tmp_path_factory.mktemp("documented")
    shutil.copytree(photos[0].parent, folder / "demo" / "photos")
    return folder


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is absent")
def test_commands_answer_what_the_page_says(serve, folder):
    commands = [
        command for _, text in find_snippets(PAGE, "console") for command in split_commands(text)
    ]
    names = ["tabby cat", "espresso"]
    content = ClassSetContent(classes=names, score=None, rule=None, threshold=None)
    with serve(initial={"default": content}) as address:
        for command, expected in commands:
            assert SERVICE in command
            arguments = shlex.split(command.replace(SERVICE, address))
            answer = subprocess.run(
                arguments, cwd=folder, check=True, capture_output=True, text=True
            ).stdout
            pattern = ".*".join(map(re.escape, expected.strip().split("...")))
            assert re.fullmatch(pattern, answer), answer
    assert len(commands) == 7


def test_every_limit_is_documented(client):
    text = PAGE.read_text()
    for name in client.get("/v1/detectors").json()["limits"]:
        assert f"`{name.replace('_', '-')}`" in text
