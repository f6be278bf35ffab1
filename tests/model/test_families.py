"""Every family of CLIPs that can get a "no", each shrunk, beside open_clip's own embeddings."""

import copy
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clipn.losses import clipn_loss
from clipn.model import CLIPN, BaseClip, build_base, load_model

FAMILIES = (
    "ViT-B-16",
    "ViT-B-16-quickgelu",
    "ViT-B-32",
    "ViT-B-32-quickgelu",
    "ViT-L-14",
    "ViT-L-14-quickgelu",
    "RN50",
    "RN50-quickgelu",
    "ViT-B-16-SigLIP",
)
TEXTS = ["a photo of a tabby cat.", "an espresso", "a yellow school bus in front of a brick wall"]


def shrunk_architecture(name: str) -> dict[str, Any]:
    """open_clip's own configuration with few and narrow layers; all else as it is."""
    architecture = open_clip.get_model_config(name)
    assert architecture is not None
    vision, text = architecture["vision_cfg"], architecture["text_cfg"]
    text.update(width=32, heads=2, layers=2, vocab_size=49408)
    architecture["embed_dim"] = 32
    if "timm_model_name" in vision:
        architecture["embed_dim"] = 64  # the trunk's own width: SigLIP has no projection
        vision.update(timm_model_name="test_vit", image_size=64)
        text.pop("hf_tokenizer_name")
    elif isinstance(vision["layers"], list):
        vision.update(layers=[1, 1, 1, 1], width=8, image_size=64)
    else:
        vision.update(layers=2, width=32, head_width=16, image_size=2 * vision["patch_size"])
    if name.startswith(("ViT-L", "RN")):
        text["width"] = 48  # not the size of the embeddings
    return architecture


@dataclass(kw_only=True)
class Family:
    theirs: Any
    base: BaseClip

    @property
    def image(self) -> Tensor:
        size = self.base.source.architecture["vision_cfg"]["image_size"]
        return torch.randn(3, 3, size, size, generator=torch.Generator().manual_seed(1))

    @cached_property
    def taught(self) -> CLIPN:
        """For tests that change nothing."""
        return self.fresh("learnable")

    def fresh(self, variant: str | None = None) -> CLIPN:
        model = CLIPN(replace(self.base, clip=copy.deepcopy(self.base.clip)))
        if variant is not None:
            model.add_no_tower(variant=variant)
        return model


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> Family:
    """An open_clip model made by open_clip, and the very same weights in one that we made."""
    architecture = shrunk_architecture(request.param)
    torch.manual_seed(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(open_clip.factory._MODEL_CONFIGS, request.param, architecture)
        theirs = open_clip.create_model(request.param).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():  # no bias stays at zero, no gain at one
            parameter.add_(0.02 * torch.randn_like(parameter))
        for name, buffer in theirs.visual.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_(std=0.1)
    base = build_base(architecture, name=request.param)
    base.clip.load_state_dict(theirs.state_dict())
    return Family(theirs=theirs, base=base)


@torch.no_grad()
def test_image_embeddings_are_those_of_open_clip(family: Family):
    expected = family.theirs.encode_image(family.image, normalize=True)
    torch.testing.assert_close(family.taught.encode_image(family.image), expected)


@torch.no_grad()
def test_text_embeddings_are_those_of_open_clip(family: Family):
    model = family.taught
    expected = family.theirs.encode_text(family.base.tokenizer(TEXTS), normalize=True)
    torch.testing.assert_close(model.encode_text(TEXTS), expected, atol=1e-5, rtol=0)
    assert model.tau == pytest.approx(family.theirs.logit_scale.exp().item())


@torch.no_grad()
def test_a_fresh_no_tower_is_the_yes_tower(family: Family):
    model = family.taught
    torch.testing.assert_close(
        model.encode_text_no(TEXTS), model.encode_text(TEXTS), atol=1e-6, rtol=0
    )


@torch.no_grad()
def test_all_embeddings_have_length_one(family: Family):
    model = family.taught
    dim = family.base.source.architecture["embed_dim"]
    for rows in (
        model.encode_image(family.image),
        model.encode_text(TEXTS),
        model.encode_text_no(TEXTS),
    ):
        assert rows.shape == (3, dim)
        torch.testing.assert_close(rows.norm(dim=-1), torch.ones(3))


def test_only_the_no_tower_learns_and_all_of_it_does(family: Family):
    model = family.fresh("learnable").train()
    image = model.encode_image(family.image)
    yes, no = model.encode_text(TEXTS), model.encode_text_no(TEXTS)
    clipn_loss(image, yes, no, tau=model.tau).total.backward()
    for name, parameter in model.named_parameters():
        if name.startswith("no_tower."):
            assert parameter.requires_grad, name
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            assert parameter.grad.abs().max() > 0, name
        else:
            assert not parameter.requires_grad, name
            assert parameter.grad is None, name


def test_the_no_tower_shares_no_weight_with_the_yes_tower(family: Family):
    model = family.fresh("handcrafted")
    before = model.encode_text(TEXTS)
    with torch.no_grad():
        for parameter in model.no_tower.parameters():
            parameter.add_(0.1)
    torch.testing.assert_close(model.encode_text(TEXTS), before)
    assert (model.encode_text_no(TEXTS) - before).abs().max() > 1e-3


def test_a_class_bank_has_a_row_for_every_name(family: Family):
    dim = family.base.source.architecture["embed_dim"]
    plain = family.fresh().class_bank(["tabby cat", "espresso"])
    taught = family.taught.class_bank(["tabby cat", "espresso"])
    assert plain.yes.shape == taught.yes.shape == (2, dim)
    assert plain.no is None
    assert taught.no is not None
    torch.testing.assert_close(taught.no.norm(dim=-1), torch.ones(2))


@torch.no_grad()
def test_a_saved_and_loaded_model_has_the_same_bits(family: Family, tmp_path: Path):
    model = family.fresh("learnable")
    model.no_tower.prompts.normal_()
    model.save(tmp_path / "model")
    loaded = load_model(tmp_path / "model")
    assert loaded.source == model.source
    assert loaded.fingerprint() == model.fingerprint()
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    torch.testing.assert_close(loaded.encode_text_no(TEXTS), model.encode_text_no(TEXTS))


def test_siglip_reads_full_captions_and_keeps_its_own_length(family: Family):
    tokens = family.taught.tokenize(["a cat"])
    is_siglip = family.base.source.architecture.get("custom_text", False)
    assert tokens.shape == ((1, 64) if is_siglip else (1, 4))


@pytest.mark.parametrize("name", ["ViT-B-32", "RN50"])
def test_the_activation_is_part_of_what_a_model_is(name: str):
    """The same weights with another activation give other embeddings, so no cache may mix them."""
    models = []
    for architecture in (shrunk_architecture(name), shrunk_architecture(f"{name}-quickgelu")):
        torch.manual_seed(0)
        models.append(CLIPN(build_base(architecture)))
    gelu, quick = models
    for key, tensor in gelu.state_dict().items():
        assert torch.equal(tensor, quick.state_dict()[key]), key
    assert F.mse_loss(gelu.encode_text(TEXTS), quick.encode_text(TEXTS)) > 0
    for part in ("text", "frozen", "all"):
        assert gelu.fingerprint(part) != quick.fingerprint(part)


def test_batch_norm_of_a_resnet_does_not_move_while_the_no_tower_learns():
    model = CLIPN(build_base(shrunk_architecture("RN50")))
    model.add_no_tower()
    norms = [m for m in model.visual.modules() if isinstance(m, nn.BatchNorm2d)]
    before = [norm.running_mean.clone() for norm in norms]
    model.train()
    model.encode_image(torch.randn(2, 3, 64, 64))
    assert norms
    assert all(torch.equal(norm.running_mean, old) for norm, old in zip(norms, before, strict=True))
