"""Runs the whole test suite with another Python, or with the lowest versions that are supported.

    python recipes/packaging/other_versions.py --python 3.13   # or the path of one
    python recipes/packaging/other_versions.py --lowest

The first takes the versions of requirements.lock. The second takes the lowest version that is
allowed of everything that clipn and its extras ask for, and the newest that fits of the tests' own
tools and of what nobody asks for directly; old packages and new ones warn of each other there, and
so what deprecates or is left to the collector is no error. With several extras the lowest is the
highest of their lowest; `--extras serve openvino` sees what those two allow.

What follows `--` goes to pytest, as in `-- tests/serving`, instead of the whole suite. Needs the
project's own environment (make setup), which brings uv, and a package index.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

PROJECT = Path(__file__).parents[2]
UV = Path(sys.executable).with_name("uv")
NOT_FOR_USERS = ("dev", "docs")
NO_ERRORS = (
    "ignore::DeprecationWarning",
    "ignore::PendingDeprecationWarning",
    "ignore::beartype.roar.BeartypeDecorHintPep585DeprecationWarning",
    "ignore:Using `httpx` with `starlette",  # of a category that older ones do not have
    "ignore::pytest.PytestUnraisableExceptionWarning",
)


def read_extras() -> dict[str, list[str]]:
    """What each extra asks for."""
    with (PROJECT / "pyproject.toml").open("rb") as file:
        return tomllib.load(file)["project"]["optional-dependencies"]


def resolve(source: Path, result: Path, *options: str) -> Path:
    """Write the versions that a file's requirements come to; returns where they are."""
    subprocess.run(
        [UV, "pip", "compile", "--quiet", "--output-file", result, *options, source], check=True
    )
    return result


def find_lowest(folder: Path, args: argparse.Namespace) -> Path:
    """The lowest versions of what clipn asks for, with the newest tools of the tests that fit."""
    extras = read_extras()
    names = args.extras or [name for name in extras if name not in NOT_FOR_USERS]
    python = ("--python-version", args.python)
    options = [option for name in names for option in ("--extra", name)]
    lowest = resolve(
        PROJECT / "pyproject.toml",
        folder / "lowest.txt",
        *("--resolution", "lowest-direct", *python, *options),
    )
    tools = [
        line for name in NOT_FOR_USERS for line in extras[name] if not line.startswith("clipn")
    ]
    wanted = folder / "wanted.txt"
    wanted.write_text("\n".join([lowest.read_text(), *tools]))
    return resolve(wanted, folder / "versions.txt", *python)


def make_environment(environment: Path, versions: Path, python: str) -> None:
    """Install these versions, and the checkout itself."""
    pip = [UV, "pip", "install", "--quiet", "--python", environment / "bin" / "python"]
    subprocess.run([UV, "venv", "--quiet", "--seed", "--python", python, environment], check=True)
    subprocess.run([*pip, "--requirement", versions], check=True)
    subprocess.run([*pip, "--no-deps", "--editable", PROJECT], check=True)


def choose_tests(arguments: list[str]) -> list[list[str]]:
    """Arguments of pytest, a list for each process; as `make test` divides the whole suite."""
    if arguments:
        return [arguments]
    found = re.search(r"^ALONE := (.+)$", (PROJECT / "Makefile").read_text(), re.MULTILINE)
    assert found is not None
    alone = found[1].split()
    return [[f"--ignore={path}" for path in alone], alone]


def main() -> None:
    """Install, test; the exit code is 0 if all tests passed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--python", default="3.11")
    parser.add_argument("--lowest", action="store_true")
    parser.add_argument("--extras", nargs="+", help="with --lowest: of these only")
    parser.add_argument("tests", nargs="*", metavar="-- ARGUMENTS")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        versions = find_lowest(folder, args) if args.lowest else PROJECT / "requirements.lock"
        environment = folder / "environment"
        make_environment(environment, versions, args.python)
        warnings = [f"-W{one}" for one in NO_ERRORS] if args.lowest else []
        pytest = ["env", "OMP_NUM_THREADS=1", environment / "bin" / "pytest", "-q", *warnings]
        codes = [
            subprocess.run([*pytest, *tests], cwd=PROJECT, check=False).returncode
            for tests in choose_tests(args.tests)
        ]
    sys.exit(max(codes))


if __name__ == "__main__":
    main()
