"""CLIPN itself: variants, prompts, modes, fingerprints, logits."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from clipn.errors import ModelError
from clipn.model import CLIPN, ClassBank
from clipn.model.clipn import FINGERPRINT_PARTS
from clipn.templates import NEGATED_TEMPLATES, PAIRED_TEMPLATES, TEMPLATES

CAPTIONS = ["a tabby cat on a red sofa", "an espresso", "a bus"]


@pytest.fixture
def images() -> list[Image.Image]:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 40, 50, 3), dtype=np.uint8)
    return [Image.fromarray(image) for image in pixels]


def test_the_variant_says_how_no_is_worded(
    plain_model: CLIPN, learnable_model: CLIPN, handcrafted_model: CLIPN
):
    assert (plain_model.variant, plain_model.has_no) == (None, False)
    assert (learnable_model.variant, learnable_model.has_no) == ("learnable", True)
    assert (handcrafted_model.variant, handcrafted_model.has_no) == ("handcrafted", True)
    assert learnable_model.no_tower.num_prompts == 16
    assert handcrafted_model.no_tower.num_prompts == 0
    assert learnable_model.templates == TEMPLATES
    assert learnable_model.negated_templates == ()
    assert handcrafted_model.templates == PAIRED_TEMPLATES
    assert handcrafted_model.negated_templates == NEGATED_TEMPLATES


def test_prompts_have_the_size_of_a_caption_and_are_zero_at_the_start(plain_model: CLIPN):
    plain_model.add_no_tower(num_prompts=5)
    prompts = plain_model.no_tower.prompts
    assert prompts.shape == (5, 77, 32)
    assert not prompts.any()
    assert prompts.requires_grad


def test_a_plain_clip_asked_for_no_says_how_to_get_one(plain_model: CLIPN):
    with pytest.raises(ModelError, match=r"clipn train.*import-checkpoint.*compact"):
        plain_model.encode_text_no(["a cat"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"variant": "learned"}, "'learnable' or 'handcrafted'; got 'learned'"),
        ({"num_prompts": -3}, "num_prompts must not be negative; got -3"),
        ({"start": "random", "variant": "handcrafted"}, "'same' or 'opposite'; got 'random'"),
    ],
)
def test_a_no_tower_of_no_known_kind_is_refused(
    plain_model: CLIPN,
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, object],
    message: str,
):
    monkeypatch.setattr("jaxtyping.config.jaxtyping_disable", True)  # as users have it
    with pytest.raises(ValueError, match=message):
        plain_model.add_no_tower(**options)
    assert not plain_model.has_no
    assert not plain_model.negated_templates


def test_a_second_no_tower_is_refused(learnable_model: CLIPN):
    with pytest.raises(ModelError, match="has a no tower already"):
        learnable_model.add_no_tower(variant="handcrafted")
    assert learnable_model.variant == "learnable"


def test_a_model_that_gets_a_no_is_no_longer_what_its_name_loads(plain_model: CLIPN):
    plain_model.reference = "ViT-B-16/openai"
    plain_model.add_no_tower()
    assert plain_model.reference is None


@torch.no_grad()
def test_inference_takes_the_mean_of_all_prompts(learnable_model: CLIPN):
    mean_only = copy.deepcopy(learnable_model)
    pool = learnable_model.no_tower.prompts
    mean_only.no_tower.prompts.copy_(pool.mean(dim=0, keepdim=True).expand_as(pool))
    expected = mean_only.encode_text_no(CAPTIONS, prompt_ids=torch.tensor([0, 7, 15]))
    torch.testing.assert_close(learnable_model.encode_text_no(CAPTIONS), expected)
    ids = torch.full((3,), 16)
    torch.testing.assert_close(learnable_model.encode_text_no(CAPTIONS, prompt_ids=ids), expected)


@torch.no_grad()
def test_prompt_ids_pick_a_prompt_for_each_caption(learnable_model: CLIPN):
    learnable_model.no_tower.prompts.normal_()
    picked = learnable_model.encode_text_no(CAPTIONS, prompt_ids=torch.tensor([3, 0, 15]))
    for row, (caption, prompt_id) in enumerate(zip(CAPTIONS, [3, 0, 15], strict=True)):
        alone = copy.deepcopy(learnable_model)
        alone.no_tower.prompts[:] = learnable_model.no_tower.prompts[prompt_id].clone()
        expected = alone.encode_text_no([caption])[0]
        torch.testing.assert_close(picked[row], expected, atol=1e-5, rtol=0)
    others = learnable_model.encode_text_no(CAPTIONS, prompt_ids=torch.tensor([4, 1, 14]))
    assert ((picked - others).abs().amax(dim=1) > 1e-3).all()


@torch.no_grad()
def test_prompts_are_for_the_learnable_variant_only(handcrafted_model: CLIPN):
    with pytest.raises(ValueError, match="prompt_ids must be None"):
        handcrafted_model.encode_text_no(["a cat"], prompt_ids=torch.tensor([0]))


@torch.no_grad()
def test_strings_cut_tokens_and_full_tokens_give_the_same(learnable_model: CLIPN):
    full = learnable_model.tokenizer(CAPTIONS)
    cut = learnable_model.tokenize(CAPTIONS)
    assert full.shape == (3, 77)
    assert cut.shape == (3, 9)  # begin, seven words, end
    for encode in (learnable_model.encode_text, learnable_model.encode_text_no):
        torch.testing.assert_close(encode(full), encode(CAPTIONS), atol=1e-6, rtol=0)
        torch.testing.assert_close(encode(cut), encode(CAPTIONS), atol=1e-6, rtol=0)


def test_a_single_string_is_no_sequence_of_texts(learnable_model: CLIPN):
    for encode in (learnable_model.encode_text, learnable_model.encode_text_no):
        with pytest.raises(TypeError, match="got the string 'a cat'"):
            encode("a cat")


@torch.no_grad()
def test_images_and_the_tensor_made_of_them_give_the_same(
    plain_model: CLIPN, images: list[Image.Image]
):
    pixels = torch.stack([plain_model.preprocess(image) for image in images])
    assert pixels.shape == (3, 3, 32, 32)
    torch.testing.assert_close(plain_model.encode_image(images), plain_model.encode_image(pixels))


def test_the_augmentation_is_a_random_view_of_the_models_own_size(
    plain_model: CLIPN, images: list[Image.Image]
):
    augment = plain_model.augmentation()
    generator = np.random.default_rng(0)
    views = torch.stack([augment(images[0], generator) for _ in range(8)])
    assert views.shape == (8, 3, 32, 32)
    assert views.flatten(1).unique(dim=0).shape[0] > 1
    grey = Image.new("RGB", (50, 40), (120, 110, 100))
    torch.testing.assert_close(augment(grey, generator), plain_model.preprocess(grey))


@torch.no_grad()
def test_no_starts_as_the_caption_or_as_its_opposite(plain_model: CLIPN):
    same, opposite = plain_model, copy.deepcopy(plain_model)
    same.add_no_tower(num_prompts=2)
    opposite.add_no_tower(num_prompts=2, start="opposite")
    for model, sign in ((same, 1), (opposite, -1)):
        bank = model.class_bank(["a dog", "a cat"])
        torch.testing.assert_close(bank.no, sign * bank.yes)


def test_training_switches_the_no_tower_only(learnable_model: CLIPN):
    assert learnable_model.train() is learnable_model
    assert learnable_model.training
    assert all(module.training for module in learnable_model.no_tower.modules())
    frozen = [*learnable_model.visual.modules(), *learnable_model.text.modules()]
    assert not any(module.training for module in frozen)
    learnable_model.eval()
    assert not any(module.training for module in learnable_model.modules())


def _changed_parts(model: CLIPN, changed: CLIPN) -> set[str]:
    return {p for p in FINGERPRINT_PARTS if model.fingerprint(p) != changed.fingerprint(p)}


@pytest.mark.parametrize(
    ("weight", "parts"),
    [
        ("visual.conv1.weight", {"image", "frozen", "all"}),
        ("text.ln_final.bias", {"text", "frozen", "all"}),
        ("logit_scale", {"text", "all"}),
        ("no_tower.text.token_embedding.weight", {"text", "all"}),
        ("no_tower.prompts", {"text", "all"}),
    ],
)
def test_a_fingerprint_changes_with_its_weights_only(
    learnable_model: CLIPN, weight: str, parts: set[str]
):
    changed = copy.deepcopy(learnable_model)
    assert _changed_parts(learnable_model, changed) == set()
    with torch.no_grad():
        changed.get_parameter(weight).flatten()[-1:].add_(1e-3)
    assert _changed_parts(learnable_model, changed) == parts


def test_a_fingerprint_changes_with_the_settings_of_its_part(learnable_model: CLIPN):
    source = learnable_model.source
    changed = copy.deepcopy(learnable_model)
    changed.source = replace(source, preprocess={**source.preprocess, "interpolation": "bilinear"})
    assert _changed_parts(learnable_model, changed) == {"image", "frozen", "all"}
    text = {**source.architecture["text_cfg"], "heads": 4}
    changed.source = replace(source, architecture={**source.architecture, "text_cfg": text})
    assert _changed_parts(learnable_model, changed) == {"text", "frozen", "all"}
    changed.source = replace(source, name="another name")
    assert _changed_parts(learnable_model, changed) == set()


def test_a_fingerprint_is_sixteen_hexadecimal_digits_whatever_the_templates(plain_model: CLIPN):
    before = plain_model.fingerprint()
    assert len(before) == 16
    assert set(before) <= set("0123456789abcdef")
    plain_model.templates = ("another {}",)
    assert plain_model.fingerprint() == before


def test_logits_are_cosines_times_the_temperature(learnable_model: CLIPN):
    yes, no = (F.normalize(torch.randn(5, 24), dim=-1) for _ in range(2))
    image = F.normalize(torch.randn(3, 24), dim=-1)
    bank = ClassBank(names=tuple("abcde"), templates=("{}",), yes=yes, no=no)
    own = learnable_model.logits(image, bank)
    assert learnable_model.tau == pytest.approx(1 / 0.07, rel=1e-6)
    torch.testing.assert_close(own.yes, torch.einsum("bd,cd->bc", image, yes) / 0.07)
    torch.testing.assert_close(own.no, torch.einsum("bd,cd->bc", image, no) / 0.07)
    scaled = learnable_model.logits(image, bank, tau=100.0)
    torch.testing.assert_close(scaled.yes, own.yes * 7.0)
    torch.testing.assert_close(scaled.no, own.no * 7.0)
    assert learnable_model.logits(image, replace(bank, no=None)).no is None


def test_words_that_no_caption_of_the_training_had_are_told(plain_model: CLIPN):
    assert plain_model.unseen_words(["quokka"]) == []  # it keeps no list
    plain_model.known_tokens = plain_model.tokenizer(["a photo of a tabby cat"]).unique()
    names = ["Tabby cat", "quokka photo", "cat quokka"]
    assert plain_model.unseen_words(names) == ["quokka"]
    assert plain_model.unseen_words([]) == []
