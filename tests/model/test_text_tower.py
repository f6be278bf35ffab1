"""The text tower: cutting captions changes nothing, and towers that cannot be cut are not."""

import copy
from typing import Any

import pytest
import torch
from open_clip.coca_model import CoCa
from open_clip.model import CLIP, CustomTextCLIP
from open_clip.transformer import TextTransformer
from torch import nn

from clipn.errors import ModelError
from clipn.model import CLIPN, build_base
from clipn.model.text_tower import MIN_GROUP, TextTower, count_parameters, is_finite

LENGTH, VOCABULARY, END = 77, 64, 63
VISION = {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16}
TEXT = {
    "context_length": LENGTH,
    "vocab_size": VOCABULARY,
    "width": 32,
    "heads": 2,
    "layers": 2,
}


def _clip(model_class: type[nn.Module] = CLIP, **text: Any) -> nn.Module:
    clip = model_class(embed_dim=24, vision_cfg=VISION, text_cfg={**TEXT, **text})
    with torch.no_grad():
        for parameter in clip.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return clip.eval()


def _captions(ends: list[int], *, end_token: int = END) -> torch.Tensor:
    """Token ids of captions that end at the given places, padded with zeros."""
    tokens = torch.zeros(len(ends), LENGTH, dtype=torch.long)
    for row, end in zip(tokens, ends, strict=True):
        row[:end] = torch.randint(1, 60, (end,))
        row[end] = end_token
    return tokens


POOLINGS = [("argmax", {}), ("eos", {"pool_type": "eos", "eos_id": 62})]


@torch.no_grad()
@pytest.mark.parametrize("model_class", [CLIP, CustomTextCLIP])
@pytest.mark.parametrize(("pooling", "text"), POOLINGS)
def test_cut_captions_have_the_embeddings_of_full_ones(
    model_class: type[nn.Module], pooling: str, text: dict[str, Any]
):
    clip = _clip(model_class, **text)
    tower = TextTower(clip)
    tokens = _captions([3, 11, 7], end_token=text.get("eos_id", END))
    cut = tower.cut(tokens)
    assert tower.pool_type == pooling
    assert torch.equal(cut, tokens[:, :12])
    expected = clip.encode_text(tokens)
    torch.testing.assert_close(tower.embed(tokens), expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(tower.embed(cut), expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(tower(tokens), expected, atol=1e-5, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize(("pooling", "text"), POOLINGS)
def test_groups_of_similar_length_have_the_embeddings_of_one_batch(
    pooling: str, text: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    tower = TextTower(_clip(**text))
    num = 4 * MIN_GROUP + 3
    ends = torch.randint(1, LENGTH, (num,)).tolist()
    tokens = _captions(ends, end_token=text.get("eos_id", END))
    lengths = []
    embed = tower.embed
    monkeypatch.setattr(tower, "embed", lambda t, p: (lengths.append(t.shape), embed(t, p))[1])
    for prompt in (None, torch.randn(1, LENGTH, 32), torch.randn(num, LENGTH, 32)):
        expected = embed(tokens, prompt)
        torch.testing.assert_close(tower(tokens, prompt), expected, atol=1e-5, rtol=0)
    assert len(lengths) == 12, "three prompts, four groups each"
    assert sum(rows * length for rows, length in lengths) < 0.75 * 3 * tokens.numel()


@torch.no_grad()
@pytest.mark.parametrize(("pooling", "text"), POOLINGS)
def test_prompts_at_every_position_leave_the_cut_exact(pooling: str, text: dict[str, Any]):
    tower = TextTower(_clip(**text))
    tokens = _captions([2, 30], end_token=text.get("eos_id", END))
    prompt = torch.randn(2, LENGTH, 32)
    full = tower.embed(tokens, prompt)
    torch.testing.assert_close(tower(tokens, prompt), full, atol=1e-5, rtol=0)
    assert (tower(tokens) - full).abs().max() > 0.1, "the prompt is not heard at all"


@torch.no_grad()
@pytest.mark.parametrize(("pooling", "text"), POOLINGS)
def test_what_follows_the_end_token_changes_nothing(pooling: str, text: dict[str, Any]):
    tower = TextTower(_clip(**text))
    end = text.get("eos_id", END)
    tokens = _captions([5, 9], end_token=end)
    garbage = tokens.clone()
    garbage[0, 6:] = torch.randint(1, 60, (LENGTH - 6,))
    garbage[1, 10:] = end  # some tokenizers pad with the end token
    torch.testing.assert_close(tower(garbage), tower(tokens), atol=1e-5, rtol=0)
    assert torch.equal(tower.cut(garbage), garbage[:, :10])


def test_a_full_caption_a_single_token_and_an_empty_batch_can_be_cut():
    tower = TextTower(_clip())
    full = _captions([LENGTH - 1, 4])
    assert torch.equal(tower.cut(full), full)
    assert tower.cut(_captions([0])).shape == (1, 1)
    assert tower.cut(_captions([])).shape == (0, LENGTH)


@torch.no_grad()
@pytest.mark.parametrize("text", [{"no_causal_mask": True}, {"pool_type": "last"}])
def test_a_tower_that_reads_the_padding_is_never_cut(text: dict[str, Any]):
    """As SigLIP's, whose attention looks both ways and whose embedding is the last token's."""
    clip = _clip(CustomTextCLIP, proj_bias=True, **text)
    tower = TextTower(clip)
    tokens = _captions([3, 5])
    assert tower.cut(tokens) is tokens
    torch.testing.assert_close(tower(tokens), clip.encode_text(tokens))
    assert (tower(tokens[:, :6]) - tower(tokens)).abs().max() > 1e-3, "then it could be cut"


@torch.no_grad()
def test_a_tower_without_projection_gives_the_pooled_tokens():
    clip = _clip(CustomTextCLIP, proj_type="none")
    tower = TextTower(clip)
    tokens = _captions([3, 5])
    assert tower.text_projection is None
    torch.testing.assert_close(tower(tokens), clip.encode_text(tokens), atol=1e-5, rtol=0)


def test_the_tower_shares_the_modules_of_its_clip_and_a_copy_shares_none():
    clip = _clip()
    tower = TextTower(clip)
    assert tower.token_embedding is clip.token_embedding
    copied = tower.requires_grad_(False).trainable_copy()
    ours = {id(parameter) for parameter in tower.parameters()}
    assert all(parameter.requires_grad for parameter in copied.parameters())
    assert not any(id(parameter) in ours for parameter in copied.parameters())
    assert count_parameters(copied) == count_parameters(tower)


def test_its_size_is_that_of_its_positional_embedding():
    tower = TextTower(_clip(context_length=20))
    assert (tower.context_length, tower.width, tower.is_causal) == (20, 32, True)
    assert not TextTower(_clip(CustomTextCLIP, no_causal_mask=True)).is_causal


class HFTextEncoder(nn.Module):
    """Stands in for open_clip's, which would have to be downloaded."""


def _with_text(text: nn.Module) -> nn.Module:
    clip = _clip(CustomTextCLIP)
    clip.text = text
    return clip


def _coca() -> nn.Module:
    return CoCa(
        embed_dim=24,
        multimodal_cfg={
            "context_length": 8,
            "vocab_size": 64,
            "width": 32,
            "heads": 2,
            "layers": 1,
        },
        text_cfg={**TEXT, "embed_cls": True, "output_tokens": True},
        vision_cfg={**VISION, "attentional_pool": True, "output_tokens": True},
    )


def _padding_masked() -> nn.Module:
    sizes = {**TEXT, "output_dim": 24}
    return _with_text(TextTransformer(**sizes, use_pad_mask=True, no_causal_mask=True))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (_coca, r"CoCa cannot get a 'no': .* open_clip's own transformer, as in ViT-B-16"),
        (lambda: _with_text(HFTextEncoder()), "tower of type HFTextEncoder cannot get a 'no'"),
        (lambda: _clip(CustomTextCLIP, embed_cls=True), "with a class token or padding mask"),
        (_padding_masked, "with a class token or padding mask"),
        (lambda: nn.Linear(2, 2), "Linear cannot get a 'no'"),
    ],
)
def test_a_tower_that_cannot_get_a_no_is_refused_with_the_reason(make: Any, message: str):
    with pytest.raises(ModelError, match=message):
        TextTower(make())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"embed_dim": None}, "'mine' lacks embed_dim"),
        ({"vision_cfg": "ViT", "text_cfg": None}, "'mine' lacks vision_cfg, text_cfg"),
        ({"colour": "red"}, "open_clip cannot build the architecture 'mine': .*colour"),
        ({"text_cfg": {**TEXT, "heads": 5}}, "open_clip cannot build the architecture 'mine'"),
    ],
)
def test_an_architecture_that_cannot_be_built_is_refused(change: dict[str, Any], message: str):
    architecture = {"embed_dim": 24, "vision_cfg": VISION, "text_cfg": TEXT, **change}
    with pytest.raises(ModelError, match=message):
        build_base(architecture, name="mine")


def test_building_leaves_the_given_architecture_as_it_is():
    text = {**TEXT, "no_causal_mask": True}
    architecture = {"embed_dim": 24, "vision_cfg": VISION, "text_cfg": text, "custom_text": True}
    before = copy.deepcopy(architecture)
    model = CLIPN(build_base(architecture))
    assert architecture == before == model.source.architecture
    assert not model.text.is_causal


def test_a_module_with_a_nan_anywhere_is_not_finite():
    norm = nn.BatchNorm1d(2)
    assert is_finite(norm)
    norm.running_var[1] = torch.nan
    assert not is_finite(norm)
