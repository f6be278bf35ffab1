"""Benchmark suites as data, and the sets, figures and published rows that belong to them.

Names are loaded when they are first used: listing the suites does not import PyTorch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clipn.benchmarks.compare import Difference, compare_results
    from clipn.benchmarks.layouts import (
        DevkitImages,
        Folders,
        Layout,
        ListFile,
        ParquetFile,
        TarFiles,
        TorchvisionSet,
    )
    from clipn.benchmarks.native import NativeForm
    from clipn.benchmarks.opening import SetCheck, check_suite, open_set
    from clipn.benchmarks.options import EvaluationOptions
    from clipn.benchmarks.published import PublishedRow, published_rows
    from clipn.benchmarks.results import Result, read_results
    from clipn.benchmarks.run import Evaluation, evaluate
    from clipn.benchmarks.suite import SetSpec, Suite
    from clipn.benchmarks.suites import SUITE_GROUPS, SUITES, get_suite, get_suites

__all__ = [
    "SUITES",
    "SUITE_GROUPS",
    "DevkitImages",
    "Difference",
    "Evaluation",
    "EvaluationOptions",
    "Folders",
    "Layout",
    "ListFile",
    "NativeForm",
    "ParquetFile",
    "PublishedRow",
    "Result",
    "SetCheck",
    "SetSpec",
    "Suite",
    "TarFiles",
    "TorchvisionSet",
    "check_suite",
    "compare_results",
    "evaluate",
    "get_suite",
    "get_suites",
    "open_set",
    "published_rows",
    "read_results",
]

_HOMES = {
    "layouts": (
        "DevkitImages",
        "Folders",
        "Layout",
        "ListFile",
        "ParquetFile",
        "TarFiles",
        "TorchvisionSet",
    ),
    "compare": ("Difference", "compare_results"),
    "native": ("NativeForm",),
    "options": ("EvaluationOptions",),
    "results": ("Result", "read_results"),
    "run": ("Evaluation", "evaluate"),
    "opening": ("SetCheck", "check_suite", "open_set"),
    "published": ("PublishedRow", "published_rows"),
    "suite": ("SetSpec", "Suite"),
    "suites": ("SUITES", "SUITE_GROUPS", "get_suite", "get_suites"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name in _HOME_OF:
        return getattr(importlib.import_module(f"clipn.benchmarks.{_HOME_OF[name]}"), name)
    raise AttributeError(f"module 'clipn.benchmarks' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
