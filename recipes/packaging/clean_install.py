"""Installs clipn into a new environment from a package index, tries it, and says what it takes.

    python recipes/packaging/clean_install.py
    python recipes/packaging/clean_install.py --extras serve export --python 3.13

Needs the project's own environment (make setup), which brings uv, and a network.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

PROJECT = Path(__file__).parents[2]
UV = Path(sys.executable).with_name("uv")
CUDA = ("nvidia", "triton")


def build_wheel(folder: Path) -> Path:
    """Build the wheel; returns the file."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel"]
    subprocess.run(
        [*command, "--directory", str(folder)], cwd=PROJECT, check=True, capture_output=True
    )
    [wheel] = folder.glob("*.whl")
    return wheel


def install(wheel: Path, environment: Path, args: argparse.Namespace) -> None:
    """Install the wheel with what it requires, and nothing else."""
    subprocess.run([UV, "venv", "--quiet", "--python", args.python, environment], check=True)
    extras = f"[{','.join(args.extras)}]" if args.extras else ""
    subprocess.run(
        [
            *(UV, "pip", "install", "--quiet"),
            *("--python", environment / "bin" / "python"),
            f"clipn{extras} @ {wheel.as_uri()}",
        ],
        check=True,
    )


def megabytes(folder: Path, prefixes: tuple[str, ...] = ("",)) -> float:
    """Size of what lies in a folder under names that begin so, in MB."""
    return (
        sum(
            path.lstat().st_size
            for top in folder.iterdir()
            if top.name.startswith(prefixes)
            for path in ([top] if top.is_file() else top.rglob("*"))
            if path.is_file()
        )
        / 1e6
    )


def try_it(environment: Path, folder: Path) -> list[str]:
    """Run some commands; returns the lines of a table."""
    values = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    Image.fromarray(values).save(folder / "photo.png")
    lines = []
    for command in (["--help"], ["detect", "photo.png", "--classes", "espresso"]):
        done = subprocess.run(
            [environment / "bin" / "clipn", *command], cwd=folder, capture_output=True, check=False
        )
        lines.append(f"clipn {command[0]}: exit code {done.returncode}")
        if done.returncode:
            lines.append(done.stderr.decode())
    return lines


def main() -> None:
    """Install, try, measure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--extras", nargs="*", default=[])
    parser.add_argument("--python", default="3.11")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environment = folder / "environment"
        install(build_wheel(folder), environment, args)
        [packages] = environment.glob("lib/python*/site-packages")
        print(f"Python {args.python}, extras {args.extras or 'none'}")
        print(f"{len(list(packages.glob('*.dist-info')))} packages")
        print(f"{megabytes(packages):,.0f} MB, {megabytes(packages, CUDA):,.0f} of them CUDA's")
        print("\n".join(try_it(environment, folder)))


if __name__ == "__main__":
    main()
