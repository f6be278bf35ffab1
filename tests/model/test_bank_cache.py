"""Class banks on disk."""

import copy
import logging
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch
from safetensors.torch import save_file

from clipn.model import CLIPN, ClassBank
from clipn.model.bank_cache import cache_folder, cached_class_bank

NAMES = ["tabby cat", "espresso"]


@pytest.fixture
def banks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder of the cached banks, empty at first."""
    monkeypatch.setenv("CLIPN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "banks"


def _fail(*args: Any, **kwargs: Any) -> NoReturn:
    raise AssertionError("the bank was embedded again")


def _assert_equal(bank: ClassBank, other: ClassBank) -> None:
    assert (bank.names, bank.templates) == (other.names, other.templates)
    assert torch.equal(bank.yes, other.yes)
    assert (bank.no is None) == (other.no is None)
    if bank.no is not None:
        assert torch.equal(bank.no, other.no)


@pytest.mark.parametrize("kind", ["plain_model", "learnable_model", "handcrafted_model"])
def test_a_bank_is_embedded_once(
    banks: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, kind: str
):
    model = request.getfixturevalue(kind)
    first = cached_class_bank(model, NAMES)
    _assert_equal(first, model.class_bank(NAMES))
    assert len(list(banks.iterdir())) == 1
    monkeypatch.setattr(CLIPN, "class_bank", _fail)
    _assert_equal(cached_class_bank(model, ["tabby cat ", "espresso"]), first)
    _assert_equal(cached_class_bank(copy.deepcopy(model), NAMES), first)


def test_other_names_templates_and_weights_have_other_banks(banks: Path, handcrafted_model: CLIPN):
    calls: list[dict[str, Any]] = [
        {"names": NAMES},
        {"names": NAMES[::-1]},
        {"names": [*NAMES, "bus"]},
        {"names": NAMES, "templates": ["{}"]},
        {"names": NAMES, "negated_templates": ["no {}"]},
        {"names": NAMES, "templates": ["{}"], "negated_templates": ["no {}"]},
    ]
    for number, call in enumerate(calls, start=1):
        options = {key: value for key, value in call.items() if key != "names"}
        bank = cached_class_bank(handcrafted_model, call["names"], **options)
        _assert_equal(bank, handcrafted_model.class_bank(call["names"], **options))
        assert len(list(banks.iterdir())) == number
    with torch.no_grad():
        handcrafted_model.no_tower.text.ln_final.bias[0] += 0.5
    taught = cached_class_bank(handcrafted_model, NAMES)
    _assert_equal(taught, handcrafted_model.class_bank(NAMES))
    assert len(list(banks.iterdir())) == len(calls) + 1


@pytest.mark.parametrize("content", [b"", b"no tensors", None])
def test_a_damaged_file_is_made_anew_with_a_warning(
    banks: Path, plain_model: CLIPN, caplog: pytest.LogCaptureFixture, content: bytes | None
):
    bank = cached_class_bank(plain_model, NAMES)
    (path,) = banks.iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[:-8] if content is None else content)
    with caplog.at_level(logging.WARNING):
        _assert_equal(cached_class_bank(plain_model, NAMES), bank)
    assert f"The cached class bank {path} cannot be read and is made anew" in caplog.text
    assert path.read_bytes() == whole


def test_a_cache_that_cannot_be_written_is_no_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, plain_model: CLIPN
):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("CLIPN_CACHE", str(tmp_path / "file" / "cache"))
    _assert_equal(cached_class_bank(plain_model, NAMES), plain_model.class_bank(NAMES))
    assert (tmp_path / "file").read_text() == "not a folder"


def test_a_full_disk_is_no_error(banks: Path, monkeypatch: pytest.MonkeyPatch, plain_model: CLIPN):
    """safetensors tells of it with an error of its own, as it does of a missing folder."""
    monkeypatch.setattr(
        "safetensors.torch.save_file",
        lambda tensors, path: save_file(tensors, path / "no such folder" / "bank"),
    )
    _assert_equal(cached_class_bank(plain_model, NAMES), plain_model.class_bank(NAMES))
    assert list(banks.iterdir()) == []


def test_wrong_names_and_templates_are_refused_and_leave_nothing(banks: Path, plain_model: CLIPN):
    with pytest.raises(ValueError, match="occurs twice"):
        cached_class_bank(plain_model, ["cat", "cat"])
    with pytest.raises(ValueError, match=r"must contain \{\} once"):
        cached_class_bank(plain_model, NAMES, templates=["photo"])
    with pytest.raises(TypeError, match="got the string"):
        cached_class_bank(plain_model, NAMES, templates="a {}")
    with pytest.raises(ValueError, match="for the hand-crafted variant only"):
        cached_class_bank(plain_model, NAMES, negated_templates=["no {}"])
    assert not banks.exists()


def test_the_cache_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("CLIPN_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CLIPN_CACHE", "")
    assert cache_folder() == tmp_path / "home" / ".cache" / "clipn"
    monkeypatch.delenv("CLIPN_CACHE")
    assert cache_folder() == tmp_path / "home" / ".cache" / "clipn"
