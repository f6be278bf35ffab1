"""Class banks: how names become embeddings, and which names and templates are refused."""

import copy
import random
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from clipn.class_names import check_class_names
from clipn.model import CLIPN

NAMES = ["tabby cat", "espresso", "a very long name of a yellow school bus", "x"]
TEMPLATES = ["a photo of a {}.", "{}", "there is a {} in this rather long sentence"]
NEGATED = ["no {}", "a photo without {}"]


@torch.no_grad()
def _by_hand(encode: Any, name: str, templates: list[str]) -> torch.Tensor:
    """Each text alone at full length; normalise, average, normalise."""
    rows = [encode([template.replace("{}", name)])[0] for template in templates]
    rows = [row / row.pow(2).sum().sqrt() for row in rows]
    mean = sum(rows) / len(rows)
    return mean / mean.pow(2).sum().sqrt()


def test_a_bank_of_a_learnable_model_is_what_one_computes_by_hand(learnable_model: CLIPN):
    bank = learnable_model.class_bank(NAMES, templates=TEMPLATES)
    assert bank.names == tuple(NAMES)
    assert bank.templates == tuple(TEMPLATES)
    for row, name in enumerate(NAMES):
        yes = _by_hand(learnable_model.encode_text, name, TEMPLATES)
        no = _by_hand(learnable_model.encode_text_no, name, TEMPLATES)
        torch.testing.assert_close(bank.yes[row], yes, atol=1e-6, rtol=0)
        torch.testing.assert_close(bank.no[row], no, atol=1e-6, rtol=0)


def test_the_no_of_a_handcrafted_model_reads_the_negated_templates(handcrafted_model: CLIPN):
    bank = handcrafted_model.class_bank(NAMES, templates=TEMPLATES, negated_templates=NEGATED)
    for row, name in enumerate(NAMES):
        yes = _by_hand(handcrafted_model.encode_text, name, TEMPLATES)
        no = _by_hand(handcrafted_model.encode_text_no, name, NEGATED)
        torch.testing.assert_close(bank.yes[row], yes, atol=1e-6, rtol=0)
        torch.testing.assert_close(bank.no[row], no, atol=1e-6, rtol=0)


def test_templates_are_the_models_own_by_default(handcrafted_model: CLIPN):
    handcrafted_model.templates = tuple(TEMPLATES)
    handcrafted_model.negated_templates = tuple(NEGATED)
    own = handcrafted_model.class_bank(NAMES)
    given = handcrafted_model.class_bank(NAMES, templates=TEMPLATES, negated_templates=NEGATED)
    assert torch.equal(own.yes, given.yes)
    assert torch.equal(own.no, given.no)


def test_a_plain_clip_has_no_no_bank(plain_model: CLIPN):
    assert plain_model.class_bank(NAMES).no is None


@pytest.mark.parametrize("batch_size", [1, 2, 5, 512])
def test_the_batch_size_does_not_matter(learnable_model: CLIPN, batch_size: int):
    expected = learnable_model.class_bank(NAMES, templates=TEMPLATES)
    bank = learnable_model.class_bank(NAMES, templates=TEMPLATES, batch_size=batch_size)
    torch.testing.assert_close(bank.yes, expected.yes, atol=1e-6, rtol=0)
    torch.testing.assert_close(bank.no, expected.no, atol=1e-6, rtol=0)


def test_each_name_has_its_own_row_in_any_order(learnable_model: CLIPN):
    bank = learnable_model.class_bank(NAMES, templates=TEMPLATES)
    order = [2, 0, 3, 1]
    shuffled = learnable_model.class_bank([NAMES[i] for i in order], templates=TEMPLATES)
    torch.testing.assert_close(shuffled.yes, bank.yes[order], atol=1e-6, rtol=0)
    torch.testing.assert_close(shuffled.no, bank.no[order], atol=1e-6, rtol=0)
    assert (bank.yes @ bank.yes.T).fill_diagonal_(0).max() < 0.9999, "rows cannot be told apart"


def test_one_class_is_enough(learnable_model: CLIPN):
    bank = learnable_model.class_bank(["espresso"], templates=["{}"])
    assert bank.yes.shape == bank.no.shape == (1, 24)
    torch.testing.assert_close(bank.yes, F.normalize(learnable_model.encode_text(["espresso"])))


def test_three_thousand_classes_keep_their_rows(plain_model: CLIPN):
    generator = random.Random(0)
    names = [f"{'big ' * generator.randrange(4)}thing {number}" for number in range(3000)]
    bank = plain_model.class_bank(names, templates=["{}"])
    assert bank.yes.shape == (3000, 24)
    for row in (0, 1234, 2999):
        expected = _by_hand(plain_model.encode_text, names[row], ["{}"])
        torch.testing.assert_close(bank.yes[row], expected, atol=1e-6, rtol=0)


def test_a_bank_asks_for_no_gradient_but_lets_one_through(learnable_model: CLIPN):
    """A score such as ODIN's follows the gradient from the logits back to the image."""
    bank = learnable_model.class_bank(NAMES, templates=["{}"])
    assert not bank.yes.requires_grad
    assert not bank.no.requires_grad
    image = F.normalize(torch.randn(2, 24), dim=-1).requires_grad_()
    logits = learnable_model.logits(image, bank)
    (logits.yes.sum() + logits.no.sum()).backward()
    expected = (bank.yes + bank.no).sum(dim=0).detach() * learnable_model.tau
    torch.testing.assert_close(image.grad, expected.expand(2, -1))


@pytest.mark.parametrize("name", ["{}", "{0}", "100% {cat}", "%s and %d", "{", "}{", "a {} b"])
def test_braces_and_percent_signs_in_a_name_are_kept_literally(plain_model: CLIPN, name: str):
    bank = plain_model.class_bank([name], templates=["photo of {}!"])
    expected = plain_model.encode_text(["photo of " + name + "!"])
    torch.testing.assert_close(bank.yes, expected, atol=1e-6, rtol=0)


def test_names_in_any_script_have_a_row(plain_model: CLIPN):
    bank = plain_model.class_bank(["Käse", "猫", "🦊", "a" * 500], templates=["{}"])
    torch.testing.assert_close(bank.yes.norm(dim=1), torch.ones(4))
    assert (bank.yes @ bank.yes.T).fill_diagonal_(0).max() < 0.9999


def test_surrounding_space_is_no_part_of_a_name(plain_model: CLIPN):
    bank = plain_model.class_bank([" tabby cat\n"], templates=["{}"])
    assert bank.names == ("tabby cat",)


@pytest.mark.parametrize(
    ("names", "error", "message"),
    [
        ([], ValueError, "At least one class name is needed"),
        (["cat", "  "], ValueError, r"Class name 1 is empty; got '  '"),
        (["cat", "dog", "cat"], ValueError, r"Class name 'cat' occurs twice \(also as 'cat'\)"),
        (["Tabby cat", "tabby  CAT "], ValueError, "occurs twice .*also as 'Tabby cat'"),
        (["Straße", "STRASSE"], ValueError, "occurs twice"),
        ("cat", TypeError, "must be a sequence of strings; got the string 'cat'"),
        (["cat", None], TypeError, "Class name 1 must be a string; got None"),
        (["cat", 3], TypeError, "Class name 1 must be a string; got 3"),
        ([b"cat"], TypeError, "Class name 0 must be a string; got b'cat'"),
    ],
)
def test_wrong_names_are_refused(
    plain_model: CLIPN,
    monkeypatch: pytest.MonkeyPatch,
    names: Any,
    error: type[Exception],
    message: str,
):
    monkeypatch.setattr("jaxtyping.config.jaxtyping_disable", True)  # as users have it
    with pytest.raises(error, match=message):
        plain_model.class_bank(names)
    with pytest.raises(error, match=message):
        check_class_names(names)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"templates": []}, ValueError, "templates must hold at least one template"),
        ({"templates": ["a photo"]}, ValueError, "'a photo' contains it 0 times"),
        ({"templates": ["{} and {}"]}, ValueError, "contains it 2 times"),
        ({"templates": "a {}"}, TypeError, "got the string 'a {}'"),
        ({"negated_templates": ["none"]}, ValueError, "negated_templates must contain {} once"),
        ({"negated_templates": []}, ValueError, "negated_templates must hold at least one"),
    ],
)
def test_wrong_templates_are_refused(
    handcrafted_model: CLIPN, options: dict[str, Any], error: type[Exception], message: str
):
    with pytest.raises(error, match=message):
        handcrafted_model.class_bank(NAMES, **options)


def test_negated_templates_are_for_the_handcrafted_variant_only(
    plain_model: CLIPN, learnable_model: CLIPN
):
    with pytest.raises(ValueError, match="this model's variant is learnable"):
        learnable_model.class_bank(NAMES, negated_templates=NEGATED)
    with pytest.raises(ValueError, match="this model's variant is None"):
        plain_model.class_bank(NAMES, negated_templates=NEGATED)


def test_making_a_bank_leaves_the_model_as_it_was(learnable_model: CLIPN):
    before = copy.deepcopy(learnable_model.state_dict())
    learnable_model.class_bank(NAMES)
    for name, tensor in learnable_model.state_dict().items():
        assert torch.equal(tensor, before[name]), name
