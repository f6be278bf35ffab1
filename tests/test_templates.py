"""Prompt templates."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipn import templates
from clipn.templates import check_templates, fill


@pytest.mark.parametrize(
    "name",
    ["TEMPLATES", "PAIRED_TEMPLATES", "NEGATED_TEMPLATES", "NEGATED_CAPTION_TEMPLATES"],
)
def test_the_packages_own_templates_are_right(name: str):
    own = getattr(templates, name)
    assert check_templates(own) == own
    assert len(set(own)) == len(own)


def test_each_negated_template_stands_beside_a_positive_one():
    assert len(templates.PAIRED_TEMPLATES) == len(templates.NEGATED_TEMPLATES)
    assert not set(templates.PAIRED_TEMPLATES) & set(templates.NEGATED_TEMPLATES)
    for negated in templates.NEGATED_TEMPLATES:
        assert {"no", "without"} & set(negated.split())
    for positive in templates.PAIRED_TEMPLATES:
        assert not {"no", "without"} & set(positive.split())


@settings(deadline=None)
@given(st.text(), st.text(), st.text())
def test_words_are_put_in_literally(before: str, words: str, after: str):
    template = before + "{}" + after
    if template.count("{}") == 1:
        assert fill(template, words) == before + words + after


def test_words_with_braces_are_not_filled_again():
    assert fill("a {} here", "{}") == "a {} here"
    assert fill("{0} a {}", "{name} 100%") == "{0} a {name} 100%"
    assert fill("{}", "") == ""


def test_good_templates_come_back_as_a_tuple():
    assert check_templates(["a {}", "{}"]) == ("a {}", "{}")
    assert check_templates(("{{}}",)) == ("{{}}",)  # one place, in literal braces


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ("a {}", TypeError, "captions must be a sequence of strings; got the string 'a {}'"),
        ([], ValueError, "captions must hold at least one template; got none"),
        (["{}", "a photo"], ValueError, "must contain {} once; 'a photo' contains it 0 times"),
        (["{} {}"], ValueError, "'{} {}' contains it 2 times"),
        (["{name}"], ValueError, "'{name}' contains it 0 times"),
        ([""], ValueError, "'' contains it 0 times"),
    ],
)
def test_wrong_templates_are_refused_by_what_they_are_called(
    wrong: Any, error: type[Exception], message: str
):
    with pytest.raises(error, match=message):
        check_templates(wrong, what="captions")
