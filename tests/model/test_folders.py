"""Model folders: what is written, read back, and refused."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from clipn.errors import ModelError
from clipn.files import file_sha256
from clipn.model import CLIPN, build_base, load_model, load_model_folder, save_model
from clipn.model.folder import read_model_config

FILES = {"README.md", "config.json", "model.safetensors"}
RESNET = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}


@pytest.fixture
def folder(learnable_model: CLIPN, tmp_path: Path) -> Path:
    learnable_model.save(tmp_path / "model")
    return tmp_path / "model"


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def _change_config(folder: Path, **change: Any) -> None:
    config = json.loads((folder / "config.json").read_text()) | change
    for key in [key for key, value in config.items() if value is Ellipsis]:
        del config[key]
    (folder / "config.json").write_text(json.dumps(config))


def _change_weights(folder: Path, change: dict[str, torch.Tensor | None]) -> None:
    """Change weights, and the checksum too, as a program might that knows the format."""
    state = load_file(folder / "model.safetensors") | change
    state = {name: tensor for name, tensor in state.items() if tensor is not None}
    save_file(state, folder / "model.safetensors")
    _change_config(folder, weights_sha256=file_sha256(folder / "model.safetensors"))


@pytest.mark.parametrize("variant", [None, "learnable", "handcrafted"])
def test_a_loaded_model_is_the_one_that_was_saved(plain_model: CLIPN, tmp_path: Path, variant: Any):
    if variant is not None:
        plain_model.add_no_tower(variant=variant, num_prompts=3)
    plain_model.templates = ("my own {}", "{} of mine")
    plain_model.save(tmp_path / "new" / "model")
    loaded = load_model(tmp_path / "new" / "model")
    assert {path.name for path in (tmp_path / "new" / "model").iterdir()} == FILES
    assert loaded.variant == variant
    assert loaded.source == plain_model.source
    assert loaded.templates == plain_model.templates
    assert loaded.negated_templates == plain_model.negated_templates
    assert loaded.tau == plain_model.tau
    assert not loaded.training
    assert loaded.reference is None  # a folder may move
    for name, tensor in plain_model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    learns = {name for name, p in loaded.named_parameters() if p.requires_grad}
    assert learns == {name for name, _ in loaded.named_parameters() if "no_tower" in name}


def test_the_configuration_and_the_card_tell_what_the_model_is(
    learnable_model: CLIPN, tmp_path: Path
):
    save_model(learnable_model, tmp_path, training={"epochs": 7})
    config = read_model_config(tmp_path)
    assert config["training"] == {"epochs": 7}
    assert (config["name"], config["variant"], config["num_prompts"]) == ("tiny", "learnable", 16)
    assert config["weights_sha256"] == file_sha256(tmp_path / "model.safetensors")
    card = (tmp_path / "README.md").read_text()
    for part in ("# CLIPN on tiny", "learnable", "Temperature: 14.29", '"epochs": 7'):
        assert part in card
    save_model(learnable_model, tmp_path, card="My own card.\n")
    assert (tmp_path / "README.md").read_text() == "My own card.\n"


def test_half_precision_halves_the_file_and_stays_close(folder: Path, learnable_model: CLIPN):
    size = (folder / "model.safetensors").stat().st_size
    save_model(learnable_model, folder, dtype="float16")
    assert (folder / "model.safetensors").stat().st_size < 0.51 * size
    loaded = load_model_folder(folder)
    for name, tensor in learnable_model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor.half().float()), name


def test_counts_are_kept_whole_in_half_precision(tmp_path: Path):
    model = CLIPN(build_base(RESNET))
    model.visual.bn1.num_batches_tracked.fill_(70_001)  # more than float16 can say
    save_model(model, tmp_path, dtype="float16")
    assert load_model_folder(tmp_path).visual.bn1.num_batches_tracked == 70_001


@pytest.mark.parametrize("variant", [None, "learnable"])
def test_of_known_tokens_only_the_rows_are_stored(plain_model: CLIPN, tmp_path: Path, variant: Any):
    if variant is not None:
        plain_model.add_no_tower(variant=variant)
    full_bank = plain_model.class_bank(["cat"], templates=["a {}"])
    known = plain_model.tokenizer(["a cat"]).unique()
    plain_model.known_tokens = known
    save_model(plain_model, tmp_path)
    stored = load_file(tmp_path / "model.safetensors")
    names = [name for name in stored if name.endswith("token_embedding.weight")]
    assert len(names) == (1 if variant is None else 2)
    assert all(stored[name].shape == (len(known), 32) for name in names)
    loaded = load_model(tmp_path)
    assert torch.equal(loaded.known_tokens, known)
    rows = loaded.text.token_embedding.weight
    assert torch.equal(rows[known], plain_model.text.token_embedding.weight[known])
    is_known = torch.isin(torch.arange(len(rows)), known)
    assert not rows[~is_known].any()
    bank = loaded.class_bank(["cat"], templates=["a {}"])
    torch.testing.assert_close(bank.yes, full_bank.yes)
    save_model(loaded, tmp_path / "again")
    assert load_model(tmp_path / "again").fingerprint() == loaded.fingerprint()


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-100],
        lambda data: data[:-1] + b"\x07",
        lambda data: b"",
        lambda data: b"x",
    ],
)
def test_damaged_weights_are_refused(folder: Path, damage: Any):
    path = folder / "model.safetensors"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ModelError, match=r"model\.safetensors is not the file that config\.json"):
        load_model(folder)


def test_a_file_that_is_no_safetensors_is_refused(folder: Path):
    (folder / "model.safetensors").write_bytes(b"no tensors")
    _change_config(folder, weights_sha256=file_sha256(folder / "model.safetensors"))
    with pytest.raises(ModelError, match=r"model\.safetensors cannot be read"):
        load_model(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"model\.safetensors cannot be read"):
        load_model(folder)


@pytest.mark.parametrize("content", [None, b"", b"{", b"\xff\xfe"])
def test_a_folder_without_a_readable_configuration_is_refused(folder: Path, content: bytes | None):
    (folder / "config.json").unlink()
    if content is not None:
        (folder / "config.json").write_bytes(content)
    with pytest.raises(ModelError, match=r"is no model folder: config\.json cannot be read"):
        load_model(folder)


@pytest.mark.parametrize("content", ["[]", "{}", "3", '{"model": 1}'])
def test_another_json_file_is_refused(folder: Path, content: str):
    (folder / "config.json").write_text(content)
    with pytest.raises(ModelError, match="has no format_version"):
        load_model(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format_version": 2}, "has format version 2; this clipn reads version 1"),
        ({"format_version": "1"}, "has format version '1'"),
        ({"weights_sha256": ...}, "is not the file that"),
        ({"architecture": ...}, "is damaged: KeyError"),
        ({"architecture": {}}, "lacks embed_dim, vision_cfg, text_cfg"),
        ({"architecture": {**RESNET, "vision_cfg": 5}}, "lacks vision_cfg"),
        ({"preprocess": {"colour": 1}}, "is damaged"),
        ({"preprocess": {"mode": "BGR"}}, "is damaged: AssertionError"),
        ({"templates": None}, "is damaged: TypeError"),
        ({"variant": "learned"}, "is damaged: .*variant"),
        ({"num_prompts": "many"}, "is damaged"),
        ({"num_prompts": 3}, r"no_tower\.prompts \(16, 77, 32\) instead of \(3, 77, 32\)"),
        ({"pretrained": "laion2b"}, "open_clip has no architecture 'tiny'"),
    ],
)
def test_a_damaged_configuration_is_refused(folder: Path, change: dict[str, Any], message: str):
    _change_config(folder, **change)
    with pytest.raises(ModelError, match=message):
        load_model(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"no_tower.prompts": torch.full((16, 77, 32), torch.nan)}, "NaN or infinite"),
        ({"text.ln_final.bias": torch.full((32,), torch.inf)}, "NaN or infinite"),
        ({"text.ln_final.bias": None}, r"missing: text\.ln_final\.bias\."),
        ({"colour": torch.zeros(1)}, "unexpected: colour"),
        (
            {"text.ln_final.bias": torch.zeros(3)},
            r"of another shape: text\.ln_final\.bias \(3,\) instead of \(32,\)",
        ),
        ({f"x{i}": torch.zeros(1) for i in range(8)}, "unexpected: x0, .*, x5 and 2 more"),
    ],
)
def test_weights_that_do_not_fit_are_named(folder: Path, change: dict[str, Any], message: str):
    _change_weights(folder, change)
    with pytest.raises(ModelError, match=message):
        load_model(folder)


def test_an_average_of_batch_norm_that_is_nan_is_refused(tmp_path: Path):
    model = CLIPN(build_base(RESNET))
    model.visual.bn1.running_var[0] = torch.nan
    model.save(tmp_path)
    with pytest.raises(ModelError, match="NaN or infinite"):
        load_model(tmp_path)


@pytest.mark.parametrize("error", [OSError("disk full"), SafetensorError("disk full")])
def test_a_failed_write_leaves_the_old_folder_as_it_was(
    folder: Path, plain_model: CLIPN, monkeypatch: pytest.MonkeyPatch, error: Exception
):
    def fail(state: dict[str, torch.Tensor], path: Path) -> None:
        path.write_bytes(b"half of the wei")
        raise error

    before = _contents(folder)
    monkeypatch.setattr("safetensors.torch.save_file", fail)
    with pytest.raises(OSError, match="disk full"):
        plain_model.save(folder)
    assert _contents(folder) == before
    with pytest.raises(OSError, match="disk full"):
        plain_model.save(folder / "new")
    assert list((folder / "new").iterdir()) == []


def test_saving_over_a_folder_replaces_all_of_it(folder: Path, handcrafted_model: CLIPN):
    handcrafted_model.save(folder)
    assert {path.name for path in folder.iterdir()} == FILES
    assert load_model(folder).fingerprint() == handcrafted_model.fingerprint()
