"""The package as somebody meets it: `import clipn`."""

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import clipn

HEAVY = ("torch", "open_clip", "pandas", "numpy", "tyro", "datasets", "huggingface_hub")


def _python(code: str) -> str:
    """What a fresh interpreter prints."""
    command = [sys.executable, "-W", "error", "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_importing_the_package_imports_nothing_heavy():
    code = f"import sys, clipn; print([name for name in {HEAVY} if name in sys.modules])"
    assert _python(code).strip() == "[]"
    code = "import sys, clipn; clipn.ClipnError; print('torch' in sys.modules)"
    assert _python(code).strip() == "False"


def test_every_public_name_is_there():
    for name in clipn.__all__:
        assert getattr(clipn, name) is not None, name
    assert len(set(clipn.__all__)) == len(clipn.__all__)
    assert dir(clipn) == sorted(clipn.__all__)


def test_public_names_are_what_they_say():
    from clipn import model, predictions, training

    assert clipn.CLIPN is model.CLIPN
    assert clipn.load_model is model.load_model
    assert clipn.Predictions is predictions.Predictions
    assert clipn.train is training.train  # the function; the package is clipn.training
    assert clipn.model is model
    assert clipn.metrics.auroc.__module__ == "clipn.metrics.detection"
    assert clipn.scores.atd.__module__ == "clipn.scores.paper"


def test_every_error_that_a_program_may_handle_is_a_clipn_error():
    errors = [name for name in clipn.__all__ if name.endswith("Error")]
    assert len(errors) == 5
    for name in errors:
        assert issubclass(getattr(clipn, name), clipn.ClipnError)
    assert not issubclass(clipn.ClipnError, ValueError | OSError)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'clipn' has no attribute 'Detectr'"):
        clipn.Detectr  # noqa: B018
    assert not hasattr(clipn, "torch")


def test_the_version_is_that_of_the_installed_package():
    assert clipn.__version__ == version("clipn")


def test_the_package_says_that_it_is_typed():
    assert (Path(clipn.__file__).parent / "py.typed").is_file()
