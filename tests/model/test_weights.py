"""Models by name: open_clip's pretrained weights, folders, and names that are wrong."""

import copy
import json
from pathlib import Path
from typing import Any, NoReturn

import open_clip
import pytest
import torch
from safetensors.torch import load_file, save_file

from clipn.errors import ModelError
from clipn.model import CLIPN, load_model
from clipn.model.base import load_pretrained_base

SMALL = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 16, "head_width": 8, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}
TAG = "laion2b_s34b_b79k"


def _random_state(architecture: dict[str, Any]) -> dict[str, torch.Tensor]:
    clip = open_clip.model.CLIP(**copy.deepcopy(architecture))
    return {
        name: tensor + 0.02 * torch.randn_like(tensor) for name, tensor in clip.state_dict().items()
    }


@pytest.fixture
def pretrained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, torch.Tensor]:
    """open_clip's ViT-B-32, made small; in place of the download, random weights on disk."""
    architecture = copy.deepcopy(SMALL)
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "ViT-B-32", architecture)
    state = _random_state(SMALL)
    save_file(state, tmp_path / "weights.safetensors")
    monkeypatch.setattr(
        "open_clip.factory.download_pretrained",
        lambda *args, **kwargs: str(tmp_path / "weights.safetensors"),
    )
    monkeypatch.setattr("clipn.model.base.check_reachable", lambda repository: None)
    return state


@pytest.fixture
def local_dir(tmp_path: Path) -> Path:
    """A folder in open_clip's own layout."""
    folder = tmp_path / "local"
    folder.mkdir()
    config = {"model_cfg": SMALL, "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.25] * 3}}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    save_file(_random_state(SMALL), folder / "open_clip_model.safetensors")
    return folder


@torch.no_grad()
def test_pretrained_weights_are_open_clips_own(pretrained: dict[str, torch.Tensor]):
    model = load_model(f"ViT-B-32/{TAG}")
    assert model.variant is None
    assert (model.source.name, model.source.pretrained) == ("ViT-B-32", TAG)
    assert model.source.architecture == SMALL
    assert model.reference == f"ViT-B-32/{TAG}"
    assert torch.equal(model.visual.conv1.weight, pretrained["visual.conv1.weight"])
    theirs = open_clip.create_model("ViT-B-32", pretrained=TAG).eval()
    expected = theirs.encode_text(model.tokenizer(["a cat"]), normalize=True)
    torch.testing.assert_close(model.encode_text(["a cat"]), expected, atol=1e-6, rtol=0)


@torch.no_grad()
def test_weights_trained_with_quickgelu_are_loaded_with_it(pretrained: dict[str, torch.Tensor]):
    """open_clip only warns that the architecture of that name has another activation."""
    openai, laion = load_model("ViT-B-32/openai"), load_model(f"ViT-B-32/{TAG}")
    quick = open_clip.model.CLIP(**copy.deepcopy(SMALL), quick_gelu=True).eval()
    quick.load_state_dict(pretrained)
    expected = quick.encode_text(openai.tokenizer(["a cat"]), normalize=True)
    torch.testing.assert_close(openai.encode_text(["a cat"]), expected, atol=1e-6, rtol=0)
    assert (openai.encode_text(["a cat"]) - laion.encode_text(["a cat"])).abs().max() > 1e-5
    assert openai.fingerprint() != laion.fingerprint()


def test_every_pretrained_tag_says_whether_it_needs_quickgelu():
    """Only weights that were trained without it and are for an architecture with it would fail."""
    impossible = [
        (name, tag)
        for name, tag in open_clip.list_pretrained()
        if open_clip.get_model_config(name).get("quick_gelu", False)
        and not open_clip.get_pretrained_cfg(name, tag).get("quick_gelu", False)
    ]
    assert impossible == [("roberta-ViT-B-32", "laion2b_s12b_b32k")]  # gets no "no" anyway


@pytest.mark.usefixtures("pretrained")
@pytest.mark.parametrize("variant", ["learnable", "handcrafted"])
def test_a_folder_holds_only_what_was_trained_on_pretrained_weights(tmp_path: Path, variant: Any):
    model = load_model(f"ViT-B-32/{TAG}")
    model.add_no_tower(variant=variant)
    with torch.no_grad():
        for parameter in model.no_tower.parameters():
            parameter.add_(0.1)
    model.save(tmp_path / "model")
    stored = load_file(tmp_path / "model" / "model.safetensors")
    assert set(stored) == {key for key in model.state_dict() if key.startswith("no_tower.")}
    loaded = load_model(tmp_path / "model")
    assert loaded.source == model.source
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ViT-B-99", "There is no model 'ViT-B-99': name 'compact', an existing folder, 'hf-hub:"),
        ("ViT-B-16/", "There is no model 'ViT-B-16/'"),
        ("ViT-B16/openai", "no architecture 'ViT-B16'; did you mean ViT-B-16"),
        ("zzzzzz/openai", "no architecture 'zzzzzz'; `clipn list` shows them all"),
        ("ViT-B-32/laion3b", r"no pretrained weights 'laion3b'; there are openai, .*laion2b_s34b"),
        ("convnext_tiny/x", "convnext_tiny has no pretrained weights 'x'; there are none"),
        ("./missing", r"There is no folder '\./missing'"),
        ("runs/of/mine", "There is no folder 'runs/of/mine'"),
        ("/no/such/folder", "There is no folder '/no/such/folder'"),
        ("~/model", "There is no folder '~/model'"),
        ("local-dir:/no/such/folder", "local-dir:/no/such/folder could not be loaded"),
    ],
)
def test_a_name_that_leads_nowhere_says_where_others_would(name: str, message: str):
    with pytest.raises(ModelError, match=message):
        load_model(name)


def test_an_empty_folder_is_no_model(tmp_path: Path):
    with pytest.raises(ModelError, match="is no model folder"):
        load_model(tmp_path)
    with pytest.raises(ModelError, match=r"could not be loaded: .*config file missing"):
        load_model(f"local-dir:{tmp_path}")


def test_a_download_that_fails_is_a_model_error(monkeypatch: pytest.MonkeyPatch):
    def fail(*args: Any, **kwargs: Any) -> NoReturn:
        raise OSError("no route to host")

    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "ViT-B-32", copy.deepcopy(SMALL))
    monkeypatch.setattr("open_clip.factory.download_pretrained", fail)
    monkeypatch.setattr("clipn.model.base.check_reachable", lambda repository: None)
    with pytest.raises(ModelError, match=f"ViT-B-32/{TAG} could not be loaded: .*no route"):
        load_pretrained_base("ViT-B-32", TAG)


@torch.no_grad()
def test_a_folder_in_open_clips_layout_becomes_a_plain_clip(local_dir: Path, tmp_path: Path):
    model = load_model(f"local-dir:{local_dir}")
    assert model.variant is None
    assert model.source.pretrained is None
    assert model.source.preprocess["mean"] == [0.5] * 3
    theirs = open_clip.create_model(f"local-dir:{local_dir}").eval()
    expected = theirs.encode_text(model.tokenizer(["a cat"]), normalize=True)
    torch.testing.assert_close(model.encode_text(["a cat"]), expected, atol=1e-6, rtol=0)
    model.save(tmp_path / "model")  # self-contained, since no tag leads back to the weights
    assert load_model(tmp_path / "model").fingerprint() == model.fingerprint()


def test_a_folder_of_open_clips_without_weights_is_refused(local_dir: Path):
    """open_clip itself would give a model with random weights."""
    (local_dir / "open_clip_model.safetensors").unlink()
    with pytest.raises(ModelError, match="could not be loaded: Required pretrained weights"):
        load_model(f"local-dir:{local_dir}")


def test_only_a_name_that_loads_the_same_everywhere_is_a_reference(
    local_dir: Path, plain_model: CLIPN, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    plain_model.save(tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    assert load_model("model").reference is None
    assert load_model(f"local-dir:{local_dir}").reference is None
    (tmp_path / "compact").mkdir()  # a folder of that name hides nothing
    compact = load_model("compact")
    assert compact.reference == "compact"
    assert compact.has_no
