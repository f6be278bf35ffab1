"""Patch embeddings of every family of image towers, each beside another way to compute them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import open_clip
import pytest
import torch
import torch.nn.functional as F
from open_clip.timm_model import TimmModel
from torch import Tensor, nn

from clipn.errors import ModelError
from clipn.model import CLIPN, build_base
from clipn.model.patches import encode_patches

TEXT = {"width": 32, "heads": 2, "layers": 1}
VIT = {"layers": 2, "width": 32, "head_width": 16, "patch_size": 16, "image_size": 64}
TRANSFORMERS = {
    "ViT-B-16": VIT,
    "LayerScale": VIT | {"ls_init_value": 0.3},
    "query norm": VIT | {"block_type": "custom", "qk_norm": True, "scale_attn": True},
    "CLIPA": VIT | {"pool_type": "avg", "final_ln_after_pool": True, "no_ln_pre": True},
    "one layer": VIT | {"layers": 1},
}
RESNET = {"layers": [1, 1, 1, 1], "width": 8, "image_size": 64}


def make_model(vision: dict[str, Any], *, activation: str = "gelu") -> CLIPN:
    """A small CLIP whose weights are all random, gains and biases included."""
    base = build_base(
        {
            "embed_dim": 24,
            "quick_gelu": activation == "quick_gelu",
            "vision_cfg": vision,
            "text_cfg": TEXT,
        }
    )
    with torch.no_grad():
        for parameter in base.clip.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
        for name, buffer in base.clip.visual.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_(std=0.1)
    return CLIPN(base)


def make_pixels(size: int = 64) -> Tensor:
    return torch.randn(2, 3, size, size)


@contextmanager
def noting(module: nn.Module) -> Iterator[list[Any]]:
    """Note (inputs, output) of each call of a module."""
    calls: list[Any] = []
    hook = module.register_forward_hook(lambda _, inputs, output: calls.append((inputs, output)))
    try:
        yield calls
    finally:
        hook.remove()


def value_projection(attention: Any, x: Tensor) -> Tensor:
    """What a token hands over that attends to itself alone: (..., width) -> (..., width)."""
    width = x.shape[-1]
    weight, bias = attention.in_proj_weight[2 * width :], attention.in_proj_bias[2 * width :]
    return attention.out_proj(F.linear(x, weight, bias))


@torch.no_grad()
@pytest.mark.parametrize("name", TRANSFORMERS)
def test_a_transformer_lets_each_patch_hand_over_its_own_value(name: str):
    model, pixels = make_model(TRANSFORMERS[name]), make_pixels()
    visual: Any = model.visual
    last = visual.transformer.resblocks[-1]
    with noting(last) as calls:
        visual(pixels)
    (x,), _ = calls[0]
    after = getattr(last, "ln_attn", nn.Identity())
    x = x + last.ls_1(after(value_projection(last.attn, last.ln_1(x))))
    x = x + last.ls_2(last.mlp(last.ln_2(x)))
    expected = F.normalize(visual.ln_post(x)[:, 1:] @ visual.proj, dim=-1)
    patches = model.encode_patches(pixels)
    assert patches.shape == (2, 16, 24)
    torch.testing.assert_close(patches, expected, atol=1e-6, rtol=1e-5)


@torch.no_grad()
def test_quick_gelu_is_kept():
    torch.manual_seed(1)
    model = make_model(VIT)
    torch.manual_seed(1)
    quick, pixels = make_model(VIT, activation="quick_gelu"), make_pixels()
    assert (model.encode_patches(pixels) - quick.encode_patches(pixels)).abs().max() > 1e-4


@torch.no_grad()
def test_in_the_last_block_no_patch_hears_of_another():
    """With one block, a changed patch changes its own embedding only."""
    model, pixels = make_model(TRANSFORMERS["one layer"]), make_pixels()
    changed = pixels.clone()
    changed[:, :, 16:32, 32:48] += 1  # second row, third column of 4 x 4
    moved = (model.encode_patches(changed) - model.encode_patches(pixels)).abs().amax(dim=(0, 2))
    assert moved.nonzero().flatten().tolist() == [6]


@torch.no_grad()
def test_a_resnet_projects_the_feature_at_each_position():
    model, pixels = make_model(RESNET), make_pixels()
    visual: Any = model.visual
    with noting(visual.layer4) as calls:
        visual(pixels)
    features, pool = calls[0][1], visual.attnpool
    assert features.shape[2:] == (2, 2)
    patches = model.encode_patches(pixels)
    assert patches.shape == (2, 4, 24)
    for number, (row, column) in enumerate([(0, 0), (0, 1), (1, 0), (1, 1)]):
        feature = features[:, :, row, column]
        value = feature @ pool.v_proj.weight.T + pool.v_proj.bias
        expected = F.normalize(value @ pool.c_proj.weight.T + pool.c_proj.bias, dim=-1)
        torch.testing.assert_close(patches[:, number], expected, atol=1e-6, rtol=1e-5)


@torch.no_grad()
def test_a_resnet_pool_that_attends_to_one_position_gives_that_patch():
    """A query so large that one position takes all the attention, without positional embedding."""
    model, pixels = make_model(RESNET), make_pixels()
    visual: Any = model.visual
    pool = visual.attnpool
    pool.positional_embedding.zero_()
    with noting(visual.layer4) as calls:
        visual(pixels)
    features = calls[0][1].flatten(2)  # (batch, channels, positions)
    pool.q_proj.weight.zero_()
    pool.q_proj.bias.copy_(1e6 * torch.randn_like(pool.q_proj.bias))
    pool.num_heads = 1
    keys = torch.cat([features.mean(dim=2, keepdim=True), features], dim=2)
    winners = (pool.q_proj.bias @ pool.k_proj(keys.transpose(1, 2)).transpose(1, 2)).argmax(dim=1)
    whole, patches = model.encode_image(pixels), model.encode_patches(pixels)
    for image, winner in enumerate(winners.tolist()):
        assert winner > 0  # not the mean
        torch.testing.assert_close(whole[image], patches[image, winner - 1])


def timm_tower(name: str, **options: Any) -> TimmModel:
    return TimmModel(name, 24, image_size=64, **options).eval()


def randomise(tower: nn.Module) -> nn.Module:
    with torch.no_grad():
        for parameter in tower.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return tower


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("clipn_resnet16", {"pool": "avg", "proj": "linear"}),
        ("clipn_resnet16", {"pool": "avg", "proj": "linear", "proj_bias": True, "drop": 0.1}),
        ("test_resnet", {"pool": "avg", "proj": None}),
        ("test_resnet", {"pool": "", "proj": "linear"}),
        ("test_efficientnet", {"pool": "avg", "proj": "linear"}),
    ],
)
def test_the_mean_of_an_averaging_tower_s_patches_is_the_whole_image(
    name: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    tower, pixels = randomise(timm_tower(name, **options)), make_pixels()
    unit = encode_patches(tower, pixels)
    torch.testing.assert_close(unit.norm(dim=-1), torch.ones(unit.shape[:2]))
    monkeypatch.setattr("clipn.model.patches.F.normalize", lambda x, dim: x)
    raw = encode_patches(tower, pixels)
    assert raw.shape[1] > 1
    torch.testing.assert_close(raw.mean(dim=1), tower(pixels), atol=1e-5, rtol=1e-4)
    assert raw.std(dim=1).max() > 1e-3  # the positions differ


@torch.no_grad()
def test_the_compact_model_s_patches_average_to_its_embedding(
    compact_model: CLIPN, monkeypatch: pytest.MonkeyPatch
):
    pixels = make_pixels()
    patches = compact_model.encode_patches(pixels)
    assert patches.shape == (2, 16, 256)
    whole = compact_model.encode_image(pixels)
    monkeypatch.setattr("clipn.model.patches.F.normalize", lambda x, dim: x)
    raw = compact_model.encode_patches(pixels)
    torch.testing.assert_close(patches, raw / raw.norm(dim=-1, keepdim=True))
    mean = raw.mean(dim=1)
    torch.testing.assert_close(mean / mean.norm(dim=-1, keepdim=True), whole)


@torch.no_grad()
def test_a_norm_after_the_average_is_applied_to_each_position():
    tower, pixels = randomise(timm_tower("test_convnext", proj="linear", pool="")), make_pixels()
    trunk: Any = tower.trunk
    features = trunk.forward_features(pixels)
    patches = encode_patches(tower, pixels)
    normed = trunk.head.norm(features)  # over channels, position by position
    expected = tower.head(normed.flatten(2).transpose(1, 2))
    torch.testing.assert_close(patches, F.normalize(expected, dim=-1), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    "make",
    [
        lambda: timm_tower("test_vit", pool="map", proj="none"),
        lambda: timm_tower("test_vit", pool="token", proj="linear"),
        lambda: timm_tower("test_resnet", pool="max", proj="linear"),
        lambda: timm_tower("clipn_resnet16", pool="abs_attn", proj=None),
        lambda: timm_tower("test_resnet", pool="avg", proj="mlp"),
        lambda: timm_tower("test_mambaout", pool="avg", proj="linear"),
        lambda: open_clip.transformer.VisionTransformer(
            image_size=32, patch_size=16, width=32, layers=1, heads=2, mlp_ratio=2.0,
            attentional_pool=True, attn_pooler_heads=2, output_dim=24,
        ),
        lambda: nn.Flatten(),
    ],
)  # fmt: skip
def test_towers_without_patches_are_refused_with_those_that_have_them(
    make: Callable[[], nn.Module],
):
    message = r"An image tower of type \w+, .* no embeddings of patches\. Towers that have: .*RN50"
    with pytest.raises(ModelError, match=message):
        encode_patches(make(), torch.zeros(1, 3, 64, 64))


@pytest.mark.parametrize("vision", [VIT, RESNET])
def test_embeddings_have_length_one_and_no_gradient_is_needed(vision: dict[str, Any]):
    model = make_model(vision).train()  # the frozen tower stays in evaluation
    patches = model.encode_patches(make_pixels())
    assert not patches.requires_grad
    torch.testing.assert_close(patches.norm(dim=-1), torch.ones(patches.shape[:2]))
    with torch.inference_mode():
        pixels = make_pixels()
        one, two = model.encode_patches(pixels), model.encode_patches(pixels[:1])
    torch.testing.assert_close(one[:1], two, atol=1e-6, rtol=1e-5)


def test_pixels_may_ask_for_gradients():
    model, pixels = make_model(VIT), make_pixels().requires_grad_()
    model.encode_patches(pixels).sum().backward()
    assert pixels.grad is not None
    assert pixels.grad.isfinite().all()
