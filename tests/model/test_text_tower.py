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
from clipn.model.blocks import Block, simplify_blocks
from clipn.model.text_tower import TextTower, count_parameters, is_finite

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
    simplify_blocks(clip)
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
    torch.testing.assert_close(tower.embed_padded(tokens), expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(tower.embed_padded(cut), expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(tower(tokens), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("pooling", "text"), POOLINGS)
@pytest.mark.parametrize("num_prompts", [0, 1, 5])
def test_packed_captions_have_the_embeddings_and_gradients_of_padded_ones(
    pooling: str, text: dict[str, Any], num_prompts: int
):
    tower = TextTower(_clip(**text))
    ends = torch.randint(0, LENGTH, (40,)).tolist()
    tokens = _captions(ends, end_token=text.get("eos_id", END))
    prompts = torch.randn(num_prompts, LENGTH, 32) if num_prompts else None
    prompt_ids = torch.randint(5, (40,)) if num_prompts == 5 else None
    found, expected = (
        embed(tokens, prompts, prompt_ids) for embed in (tower.forward, tower.embed_padded)
    )
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    weights = torch.randn_like(expected)
    parameters = dict(tower.named_parameters())
    gradients, expected_gradients = (
        torch.autograd.grad((embeddings * weights).sum(), list(parameters.values()))
        for embeddings in (found, expected)
    )
    for name, gradient, other in zip(parameters, gradients, expected_gradients, strict=True):
        scale = other.abs().max().item()
        assert scale > 0, name
        torch.testing.assert_close(gradient, other, atol=1e-5 * scale, rtol=0, msg=name)


def test_no_block_sees_the_padding(monkeypatch: pytest.MonkeyPatch):
    tower = TextTower(_clip())
    sizes = []
    packed = Block.forward_packed

    def spy(block: Block, x: torch.Tensor, packing: Any) -> torch.Tensor:
        sizes.append(len(x))
        return packed(block, x, packing)

    monkeypatch.setattr(Block, "forward_packed", spy)
    tower(_captions([3, 76, 0, 3]))
    assert sizes == [4 + 77 + 1 + 4]


def test_checkpointing_recomputes_every_block_but_the_last_and_changes_nothing():
    tower = TextTower(_clip(layers=3))
    tokens = _captions([3, 9, 5, 9])
    parameters = list(tower.parameters())
    gradients, kept = [], []
    for is_checkpointing in (False, True):
        tower.transformer.grad_checkpointing = is_checkpointing
        sizes: list[int] = []

        def keep(tensor: torch.Tensor, sizes: list[int] = sizes) -> torch.Tensor:
            sizes.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            total = tower(tokens).square().sum()
        gradients.append(torch.autograd.grad(total, parameters))
        kept.append(sum(sizes))
    assert kept[1] < kept[0] / 2
    assert all(torch.equal(*both) for both in zip(*gradients, strict=True))


def test_token_gradients_that_are_added_to_others_have_the_same_bits_every_time():
    torch.set_num_threads(4)
    tower = TextTower(_clip())
    tokens = _captions([40] * 200)  # of 60 words, so each of them occurs often
    table = tower.token_embedding.weight
    gradients = []
    for _ in range(6):
        table.grad = torch.ones_like(table)
        tower(tokens).square().sum().backward()
        assert not table.grad.is_sparse
        gradients.append(table.grad)
    table.grad = None
    tower(tokens).square().sum().backward()
    assert all(torch.equal(gradient, gradients[0]) for gradient in gradients)
    torch.testing.assert_close(gradients[0], table.grad + 1, atol=1e-4, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize(("pooling", "text"), POOLINGS)
def test_prompts_at_every_position_leave_the_cut_exact(pooling: str, text: dict[str, Any]):
    tower = TextTower(_clip(**text))
    tokens = _captions([2, 30], end_token=text.get("eos_id", END))
    prompts, prompt_ids = torch.randn(2, LENGTH, 32), torch.tensor([1, 0])
    full = tower.embed_padded(tokens, prompts, prompt_ids)
    torch.testing.assert_close(tower(tokens, prompts, prompt_ids), full, atol=1e-5, rtol=0)
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


@torch.no_grad()
@pytest.mark.parametrize("model_class", [CLIP, CustomTextCLIP])
@pytest.mark.parametrize("text", [{}, {"proj_bias": True}, {"proj_type": "none", "width": 24}])
def test_a_negated_tower_gives_the_opposite(model_class: type[nn.Module], text: dict[str, Any]):
    clip = _clip(model_class, **({**text, "heads": 2} if model_class is CustomTextCLIP else {}))
    tower, tokens = TextTower(clip), _captions([3, 11, 7])
    opposite = tower.trainable_copy()
    opposite.negate()
    torch.testing.assert_close(opposite(tokens), -tower(tokens))


def test_a_tower_that_ends_in_another_map_is_not_negated():
    tower = TextTower(_clip(proj_bias=True))
    tower.text_projection = nn.Sequential(nn.Linear(32, 24), nn.GELU())
    with pytest.raises(ModelError, match="cannot be negated: it ends in GELU, and neither"):
        tower.negate()
