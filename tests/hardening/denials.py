"""Permissions that are missing: calls that make, open for writing or rename a file."""

import builtins
import errno
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

PLACES = ((os, "mkdir"), (os, "open"), (os, "replace"), (os, "rename"), (io, "open"))


@contextmanager
def deny(number: int, *, below: Path) -> Iterator[list[str]]:
    """Let one write fail as where a permission is missing.

    Args:
        number: Which one, from 1; with 0 none fails.
        below: Only files below this folder count, and folders that are not there yet.

    Yields:
        What was called for so far, such as "replace /a/b".
    """
    calls: list[str] = []

    def wrap(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: Any, *arguments: Any, **options: Any) -> Any:
            mode = options.get("mode", arguments[0] if arguments else "r")
            if str(path).startswith(str(below)) and _writes(name, str(path), mode):
                calls.append(f"{name} {path}")
                if len(calls) == number:
                    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
            return real(path, *arguments, **options)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for place, name in PLACES:
            patch.setattr(place, name, wrap(name, getattr(place, name)))
        patch.setattr(builtins, "open", io.open)
        yield calls


def _writes(name: str, path: str, mode: Any) -> bool:
    if name == "mkdir":
        return not Path(path).is_dir()
    if name != "open":
        return True
    return bool(mode & os.O_ACCMODE) if isinstance(mode, int) else mode not in ("r", "rb")
