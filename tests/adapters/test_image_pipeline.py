"""The pipeline answers in the form of transformers' own, with "none of these" among the labels."""

import numpy as np
import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    PreTrainedTokenizerFast,
    ZeroShotImageClassificationPipeline,
)

from clipn.adapters import ZeroShotImagePipeline
from clipn.detector import Detector
from clipn.errors import DataError
from clipn.model import CLIPN

LABELS = ["cat", "violin", "shoe"]


def make_images(count: int) -> list[Image.Image]:
    generator = np.random.default_rng(0)
    patches = generator.integers(0, 256, (count, 4, 4, 3), dtype=np.uint8)
    return [Image.fromarray(patch).resize((40, 36), Image.Resampling.NEAREST) for patch in patches]


@pytest.fixture(scope="module")
def theirs() -> ZeroShotImageClassificationPipeline:
    """The real pipeline on a tiny CLIP of transformers', with random weights."""
    torch.manual_seed(0)
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    small["num_attention_heads"] = 2
    words = ["<pad>", "<end>", "<unknown>", "this", "is", "a", "photo", "of", ".", *LABELS]
    vocabulary = {word: number for number, word in enumerate(words)}
    text = {**small, "vocab_size": len(words), "eos_token_id": 1, "max_position_embeddings": 16}
    config = CLIPConfig(
        text_config=text,
        vision_config={**small, "image_size": 32, "patch_size": 8},
        projection_dim=8,
    )
    tokens = Tokenizer(models.WordLevel(vocabulary, unk_token="<unknown>"))
    tokens.pre_tokenizer = pre_tokenizers.Whitespace()
    return ZeroShotImageClassificationPipeline(
        model=CLIPModel(config).eval(),
        tokenizer=PreTrainedTokenizerFast(
            tokenizer_object=tokens,
            model_input_names=["input_ids", "attention_mask"],
            pad_token="<pad>",
            eos_token="<end>",
            unk_token="<unknown>",
        ),
        image_processor=CLIPImageProcessor(
            size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
        ),
    )


def form_of(answer: list) -> list:
    """What is left of an answer without its numbers and labels."""
    return [
        form_of(one) if isinstance(one, list) else {key: type(value) for key, value in one.items()}
        for one in answer
    ]


def test_answers_have_the_form_of_transformers_own(
    plain_model: CLIPN, theirs: ZeroShotImageClassificationPipeline
):
    images, ours = make_images(2), ZeroShotImagePipeline(plain_model)
    for given in (images[0], images):
        found, expected = (pipe(given, candidate_labels=LABELS) for pipe in (ours, theirs))
        assert form_of(found) == form_of(expected)
    for ranking in ours(images, candidate_labels=LABELS):
        assert sorted(one["label"] for one in ranking) == sorted(LABELS)
        assert sum(one["score"] for one in ranking) == pytest.approx(1)
        assert [one["score"] for one in ranking] == sorted(
            (one["score"] for one in ranking), reverse=True
        )


def test_none_of_these_comes_first_where_atd_refuses(learnable_model: CLIPN):
    images = make_images(20)
    rankings = ZeroShotImagePipeline(learnable_model, batch_size=6)(images, LABELS)
    answers = Detector(learnable_model, LABELS, score="atd").predict(images)
    for ranking, answer in zip(rankings, answers, strict=True):
        assert len(ranking) == 4
        assert (ranking[0]["label"] == "none of these") == answer.is_ood
        scores = {one["label"]: one["score"] for one in ranking}
        assert 1 - scores["none of these"] == pytest.approx(answer.score, rel=1e-5)
        assert sum(scores.values()) == pytest.approx(1)


def test_a_template_of_ones_own_is_used(plain_model: CLIPN):
    [image] = make_images(1)
    pipe = ZeroShotImagePipeline(plain_model)
    found = pipe(image, LABELS, hypothesis_template="This is a photo of {}.")
    bank = plain_model.class_bank(LABELS, templates=["This is a photo of {}."])
    with torch.inference_mode():
        shares = plain_model.logits(plain_model.encode_image([image]), bank).yes.softmax(dim=-1)
    expected = dict(zip(LABELS, shares[0].tolist(), strict=True))
    assert {one["label"]: one["score"] for one in found} == pytest.approx(expected, rel=1e-4)


def test_bad_images_and_labels_are_refused(plain_model: CLIPN):
    pipe = ZeroShotImagePipeline(plain_model)
    with pytest.raises(DataError):
        pipe(b"no image", candidate_labels=LABELS)
    with pytest.raises(ValueError, match="At least one class name"):
        pipe(make_images(1), candidate_labels=[])
    assert pipe([], candidate_labels=LABELS) == []
