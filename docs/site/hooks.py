"""What the site has beside the pages of docs/: help texts, and the project's other documents."""

import contextlib
import io
import os
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from mkdocs.utils import get_relative_url

from clipn.cli.main import COMMANDS, run

PROJECT = Path(__file__).parents[2]
OTHER_DOCUMENTS = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "recipes/compact/README.md": "recipes/compact.md",
    "recipes/cc3m/README.md": "recipes/cc3m.md",
}
LINK = re.compile(r"\]\(([^)\s#:]+)(#[^)]*)?\)")
FILE_ANCHOR = "file-of-the-project"
HELP_WIDTH = "100"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made, not written."""
    files.append(File.generated(config, "commands.md", content=describe_commands()))
    for source, place in OTHER_DOCUMENTS.items():
        files.append(File.generated(config, place, content=(PROJECT / source).read_text("utf-8")))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links to files of the project into links within the site, or into plain text."""
    places = {place: source for source, place in OTHER_DOCUMENTS.items()}
    origin = Path(places.get(page.file.src_uri, f"docs/{page.file.src_uri}"))

    def convert(link: re.Match[str]) -> str:
        target, anchor = link.group(1), link.group(2) or ""
        path = os.path.normpath(origin.parent / target)
        place = OTHER_DOCUMENTS.get(path)
        if place is None and path.startswith("docs/"):
            place = path.removeprefix("docs/")
        if place is not None:
            return f"]({get_relative_url(place, page.file.src_uri)}{anchor})"
        if not (PROJECT / path).exists():
            return link.group(0)  # which the strict build complains of
        return f"](#{FILE_ANCHOR}-{path})"

    converted = LINK.sub(convert, markdown)
    # A file of the project that is no page is named, and not linked.
    return re.sub(rf"\[([^\]]*)\]\(#{FILE_ANCHOR}-([^)]+)\)", r"\1 (`\2`)", converted)


def describe_commands() -> str:
    """The help texts of all commands, as a page."""
    parts = ["# Commands", f"```text\n{help_text('--help')}\n```"]
    for name in COMMANDS:
        parts.append(f"## clipn {name}\n\n```text\n{help_text(name, '--help')}\n```")
    return "\n\n".join(parts) + "\n"


def help_text(*arguments: str) -> str:
    """What a command prints, at a fixed width."""
    os.environ["COLUMNS"] = HELP_WIDTH
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        assert run(arguments) == 0
    return "\n".join(line.rstrip() for line in printed.getvalue().strip().splitlines())
