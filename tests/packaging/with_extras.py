"""Runs a program as where clipn was installed with some of its extras only.

    python with_extras.py EXTRAS FILE [ARGUMENTS...]

EXTRAS are separated by commas, or empty. Whatever else is installed here cannot be imported: what
clipn itself and those extras require, and what that requires, is all that there is.
"""

import runpy
import site
import sys
from collections.abc import Iterable, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from types import ModuleType

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def needed_packages(extras: Iterable[str]) -> set[str]:
    """The distributions that an installation of clipn with these extras brings."""
    left = [("clipn", extra) for extra in ("", *extras)]
    found = set()
    while left:
        name, extra = left.pop()
        if (name, extra) in found:
            continue
        found.add((name, extra))
        try:
            requirements = [Requirement(line) for line in requires(name) or ()]
        except PackageNotFoundError:  # for another platform, or installed by other means
            continue
        for one in requirements:
            if one.marker is None or one.marker.evaluate({"extra": extra}):
                left += [(canonicalize_name(one.name), more) for more in ("", *one.extras)]
    return {name for name, _ in found}


def other_modules(packages: set[str]) -> frozenset[str]:
    """Top-level modules that are installed, but by none of these distributions."""
    return frozenset(
        module
        for module, owners in packages_distributions().items()
        if packages.isdisjoint(map(canonicalize_name, owners))
    )


class SomeModules(PathFinder):
    """Finds modules as Python does, but for those that are hidden where packages are installed.

    A copy that a package carries along in a folder of its own, as Ray does, is found.
    """

    hidden: frozenset[str] = frozenset()
    installed: frozenset[str] = frozenset(site.getsitepackages())

    @classmethod
    def find_spec(
        cls, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname in cls.hidden:
            path = [folder for folder in sys.path if folder not in cls.installed]
        return super().find_spec(fullname, path, target)


def main() -> None:
    extras, program, *arguments = sys.argv[1:]
    SomeModules.hidden = other_modules(needed_packages(filter(None, extras.split(","))))
    sys.meta_path[sys.meta_path.index(PathFinder)] = SomeModules
    sys.argv = [program, *arguments]
    runpy.run_path(program, run_name="__main__")


if __name__ == "__main__":
    main()
