"""Packages that only the extras of clipn bring."""

import importlib
from types import ModuleType

from clipn.errors import ModelError

__all__ = ["import_extra", "not_installed"]


def import_extra(module: str, *, extra: str) -> ModuleType:
    """Import a module that an extra brings, or one of ours that needs such a module.

    Raises:
        ModelError: If that is not installed, naming the extra.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise not_installed(error, extra=extra) from error


def not_installed(error: ImportError, *, extra: str) -> ModelError:
    """What to tell whoever lacks a package.

    Args:
        error: Of the import.
        extra: What brings the package.

    Example:
        >>> print(not_installed(ModuleNotFoundError("No module", name="ray"), extra="ray"))
        ray is not installed or does not load (No module): pip install "clipn[ray]".
    """
    what = error.name or "A package"
    return ModelError(
        f'{what} is not installed or does not load ({error}): pip install "clipn[{extra}]".'
    )
