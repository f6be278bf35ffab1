"""Captions made of class names, and "no" captions made of captions."""

import pytest

from clipn.data.captions import CaptionRecipe, negate_caption


def test_every_name_is_put_into_every_template_name_by_name():
    recipe = CaptionRecipe(templates=("a photo of a {}.", "one {}"))
    captions, no_captions = recipe.captions_of(["goldfish", "carp"])
    assert captions == ("a photo of a goldfish.", "one goldfish", "a photo of a carp.", "one carp")
    assert no_captions == ()


def test_negated_templates_give_one_no_caption_for_each_caption():
    recipe = CaptionRecipe(templates=("a {}", "one {}"), negated_templates=("no {}", "not one {}"))
    captions, no_captions = recipe.captions_of(["dog", "cat"])
    assert captions == ("a dog", "one dog", "a cat", "one cat")
    assert no_captions == ("no dog", "not one dog", "no cat", "not one cat")


def test_a_name_that_comes_twice_counts_once():
    captions, _ = CaptionRecipe(templates=("a {}",)).captions_of([" dog", "hound", "dog "])
    assert captions == ("a dog", "a hound")


def test_braces_in_a_name_or_a_template_are_left_alone():
    captions, _ = CaptionRecipe(templates=("{0} {a {}",)).captions_of(["{}{1}"])
    assert captions == ("{0} {a {}{1}",)


@pytest.mark.parametrize("names", [[], [""], ["dog", "  "]])
def test_no_name_or_an_empty_one_is_refused(names):
    with pytest.raises(ValueError, match="one or more non-empty names"):
        CaptionRecipe(templates=("a {}",)).captions_of(names)


@pytest.mark.parametrize("template", ["a photo", "a {} and a {}", "a {name}"])
def test_a_template_without_exactly_one_place_for_the_name_is_refused(template):
    with pytest.raises(ValueError, match=r"must contain \{\} once"):
        CaptionRecipe(templates=("a {}", template))
    with pytest.raises(ValueError, match="Each of negated_templates must contain"):
        CaptionRecipe(templates=("a {}",), negated_templates=(template,))
    with pytest.raises(ValueError, match=r"must contain \{\} once"):
        negate_caption("a dog", [template])


def test_a_recipe_needs_a_template():
    with pytest.raises(ValueError, match="at least one template"):
        CaptionRecipe(templates=())


def test_negated_templates_must_be_as_many_as_templates():
    with pytest.raises(ValueError, match=r"as many as 'templates' \(2\). Got 1"):
        CaptionRecipe(templates=("a {}", "one {}"), negated_templates=("no {}",))


@pytest.mark.parametrize("caption", ["a dog on a sofa", "a dog on a sofa.", " a dog on a sofa . "])
def test_a_caption_is_negated_without_its_final_full_stop(caption):
    assert negate_caption(caption, ["no {}.", "a photo without {}"]) == (
        "no a dog on a sofa.",
        "a photo without a dog on a sofa",
    )


def test_only_the_final_full_stop_is_taken_off():
    assert negate_caption("st. bernard no. 5", ["not {}"]) == ("not st. bernard no. 5",)


@pytest.mark.parametrize("caption", ["", "  ", "."])
def test_an_empty_caption_cannot_be_negated(caption):
    with pytest.raises(ValueError, match="must hold a word"):
        negate_caption(caption, ["no {}"])
