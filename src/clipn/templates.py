"""Prompt templates: sentences with one place, written {}, for a class name or a caption."""

from collections.abc import Sequence

TEMPLATES = (
    "a photo of a {}.",
    "a photo of the {}.",
    "a picture of a {}.",
    "an image of a {}.",
    "a close-up photo of a {}.",
    "a photo of a small {}.",
    "a photo of a large {}.",
)

# Each says the opposite of the positive template at the same place of PAIRED_TEMPLATES.
PAIRED_TEMPLATES = (
    "a photo of a {}.",
    "a photo with a {}.",
    "a picture of a {}.",
    "a picture with a {} in it.",
    "an image that shows a {}.",
    "there is a {}.",
)
NEGATED_TEMPLATES = (
    "a photo of no {}.",
    "a photo without a {}.",
    "a picture of no {}.",
    "a picture with no {} in it.",
    "an image that shows no {}.",
    "there is no {}.",
)
# What a whole caption is put into where there is no class name, without its final full stop.
NEGATED_CAPTION_TEMPLATES = ("not {}.", "a photo without {}.", "a picture that does not show {}.")


def check_templates(templates: Sequence[str], *, what: str = "templates") -> tuple[str, ...]:
    """Return templates as a tuple, or say which of them is wrong.

    Args:
        templates: Sentences with exactly one {} each.
        what: What the message calls them.

    Raises:
        TypeError: If a single string is given.
        ValueError: If there is none, or one has no {} or several.

    Example:
        >>> check_templates(["a {}", "many of them"])
        Traceback (most recent call last):
        ...
        ValueError: Each of templates must contain {} once; 'many of them' contains it 0 times.
    """
    if isinstance(templates, str):
        raise TypeError(f"{what} must be a sequence of strings; got the string {templates!r}.")
    if not templates:
        raise ValueError(f"{what} must hold at least one template; got none.")
    for template in templates:
        if template.count("{}") != 1:
            count = template.count("{}")
            raise ValueError(
                f"Each of {what} must contain {{}} once; {template!r} contains it {count} times."
            )
    return tuple(templates)


def fill(template: str, words: str) -> str:
    """Put words at the template's place; braces within the words or elsewhere stay as they are."""
    before, after = template.split("{}")
    return before + words + after
