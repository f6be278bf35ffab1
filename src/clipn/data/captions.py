"""Captions made of class names, and "no" captions made of captions."""

from collections.abc import Sequence
from dataclasses import dataclass

from clipn.templates import check_templates, fill

__all__ = ["CaptionRecipe", "negate_caption"]


@dataclass(frozen=True, kw_only=True)
class CaptionRecipe:
    """How the rows of a class-labelled data set become captions.

    Every name of a class is put into every template, so that an image of "goldfish" with the
    synonym "Carassius auratus" and 8 templates has 16 alternative captions.

    Raises:
        ValueError: A template does not contain "{}" exactly once, there is no template, or there
            are negated templates but not one for each template.

    Example:
        >>> recipe = CaptionRecipe(
        ...     templates=("a photo of a {}.",), negated_templates=("a photo of no {}.",)
        ... )
        >>> recipe.captions_of(["goldfish", "carp"])[0]
        ('a photo of a goldfish.', 'a photo of a carp.')
    """

    templates: tuple[str, ...]
    """Captions with "{}" where the class name goes."""

    name_column: str = "name"
    """The column (or key of a .json tar member) with the name of the class."""

    label_column: str | None = "label"
    """The column (or .json key, or the .cls tar member) with the number of the class; None: the
    pairs belong to no class."""

    synonyms_column: str | None = None
    """A column with further names of the class: a text or a list of texts."""

    negated_templates: tuple[str, ...] = ()
    """The hand-crafted "no" captions: one for each template, in the same order, or none at all."""

    def __post_init__(self) -> None:
        check_templates(self.templates)
        if not self.negated_templates:
            return
        check_templates(self.negated_templates, what="negated_templates")
        if len(self.negated_templates) != len(self.templates):
            raise ValueError(
                "'negated_templates' must be empty or as many as 'templates' "
                f"({len(self.templates)}). Got {len(self.negated_templates)} instead."
            )

    def captions_of(self, names: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Put every name into every template.

        Args:
            names: The names of one class; spaces around them are taken off, and a name that
                comes twice counts once.

        Returns:
            The captions, name by name and within a name in the order of the templates, and the
            "no" captions in the same order (empty without negated templates).

        Raises:
            ValueError: There is no name, or one is empty.
        """
        distinct = tuple(dict.fromkeys(name.strip() for name in names))
        if not distinct or "" in distinct:
            raise ValueError(f"'names' must be one or more non-empty names. Got {names!r} instead.")
        captions = tuple(fill(template, name) for name in distinct for template in self.templates)
        no_captions = tuple(
            fill(template, name) for name in distinct for template in self.negated_templates
        )
        return captions, no_captions


def negate_caption(caption: str, templates: Sequence[str]) -> tuple[str, ...]:
    """Put a caption into negated templates, without the full stop that may end it.

    Args:
        caption: A sentence or a phrase, such as "a dog on a sofa.".
        templates: Negated templates with "{}" where the caption goes.

    Returns:
        One "no" caption for each template, in the same order.

    Raises:
        ValueError: The caption holds no word, there is no template, or a template does not
            contain "{}" exactly once.

    Example:
        >>> negate_caption("a dog on a sofa.", ["a photo without {}.", "not {}"])
        ('a photo without a dog on a sofa.', 'not a dog on a sofa')
    """
    check_templates(templates)
    # Captions of the web are often tokenised: "a dog on a sofa ."
    phrase = caption.strip().removesuffix(".").rstrip()
    if not phrase:
        raise ValueError(f"'caption' must hold a word. Got {caption!r} instead.")
    return tuple(fill(template, phrase) for template in templates)
