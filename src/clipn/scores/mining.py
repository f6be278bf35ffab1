"""Mining of negative labels: the words of a lexicon that are least like any class."""

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from clipn.errors import DataError
from clipn.files import write_json
from clipn.scores.inputs import WordRecipe
from clipn.scores.words import Lexicon, Word

FORMAT_VERSION = 1
CHUNK = 512  # texts embedded at once

SUPERCLASSES = (
    *("area", "creature", "environment", "item", "landscape", "object", "pattern", "place"),
    *("scene", "space", "structure", "thing", "view", "vista"),
)
"""What CSP lets an adjective describe."""

FILES_WITHOUT_CSP = frozenset({"noun.person", "noun.quantity", "noun.group", "adj.pert"})
"""Lexicographer files that CSP takes no words from."""


@dataclass(frozen=True, kw_only=True)
class MinedWords:
    """Negative labels for a set of classes, and how they were found.

    Attributes:
        recipe: How they were mined.
        texts: What is to be embedded, prompts included: nouns, then adjectives, each part with the
            text first that is least like any class.
        words: The word of each text.
        sources: Which files of the lexicon the word of each text is in ("noun.plant").
        settings: The lexicon's name, fingerprint and size, and the options of `mine_words`.
    """

    recipe: WordRecipe
    texts: tuple[str, ...]
    words: tuple[str, ...]
    sources: tuple[str, ...]
    settings: Mapping[str, int | float | str]

    def summary(self) -> dict[str, int | float | str]:
        """What a result tells of them: recipe, number and settings."""
        return {"recipe": self.recipe, "num_texts": len(self.texts), **self.settings}

    def save(self, path: str | Path) -> None:
        """Write them as JSON, so that a result can be repeated."""
        write_json(Path(path), {"format_version": FORMAT_VERSION, **asdict(self)})

    @classmethod
    def load(cls, path: str | Path) -> "MinedWords":
        """Read what `save` wrote.

        Raises:
            DataError: If it cannot be read or is no such file.
        """
        try:
            content: Any = json.loads(Path(path).read_text(encoding="utf-8"))
            if content["format_version"] != FORMAT_VERSION:
                raise ValueError(f"its format version is not {FORMAT_VERSION}")
            mined = cls(
                recipe=content["recipe"],
                texts=tuple(content["texts"]),
                words=tuple(content["words"]),
                sources=tuple(content["sources"]),
                settings=content["settings"],
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path} holds no mined words: {error!r}") from error
        if not len(mined.texts) == len(mined.words) == len(mined.sources):
            raise DataError(f"{path} is damaged: texts, words and sources differ in number.")
        return mined


def mine_words(
    recipe: WordRecipe,
    lexicon: Lexicon,
    *,
    class_bank: Float[Tensor, "classes dim"],
    encode_text: Callable[[Sequence[str]], Tensor],
    quantile: float = 0.95,
    share: float = 0.15,
    max_cosine: float = 0.95,
    seed: int = 0,
) -> MinedWords:
    """Mine the words that are least like any class.

    A word's likeness is the `quantile` of its cosines with the classes; of the nouns and of the
    adjectives the `share` with the lowest is kept. So words that name a class or come close to one
    are left out.

    - "neg_label": all words; nouns as "the nice {}", adjectives as "This is a {} photo".
    - "csp": no words that stand for people, quantities or groups only, and no pertainyms; each
      adjective with one of 14 superclasses, drawn with `seed` ("white landscape"); no text whose
      highest cosine with a class exceeds `max_cosine`.

    Args:
        recipe: Which of the two.
        lexicon: From `read_lexicon`.
        class_bank: Embeddings of the classes, L2-normalised.
        encode_text: Maps texts to L2-normalised embeddings, (texts, dim).
        quantile: From 0 to 1; between two cosines it is interpolated linearly.
        share: Above 0 and up to 1.
        max_cosine: Of "csp" only.
        seed: Of "csp" only.

    Returns:
        The texts; `neg_label` and its kin are given their embeddings.

    Raises:
        DataError: If no text is left.
        ValueError: If an option is out of range.

    Source: Jiang et al., "Negative Label Guided OOD Detection with Pretrained Vision-Language
        Models", ICLR 2024 (NegMine); Chen et al., "Conjugated Semantic Pool Improves OOD Detection
        with Pre-trained Vision-Language Models", NeurIPS 2024.

    Example:
        >>> words = (Word(text=text, part="noun", files=("things",)) for text in ("cat", "spoon"))
        >>> lexicon = Lexicon(name="things", words=tuple(words))
        >>> def encode_text(texts):
        ...     return torch.tensor([[1.0, 0.0] if "cat" in text else [0.0, 1.0] for text in texts])
        >>> cat = torch.tensor([[1.0, 0.0]])
        >>> mine_words(
        ...     "neg_label", lexicon, class_bank=cat, encode_text=encode_text, share=0.5
        ... ).texts
        ('the nice spoon',)
    """
    if not 0 <= quantile <= 1:
        raise ValueError(f"quantile must lie between 0 and 1; got {quantile}.")
    if not 0 < share <= 1:
        raise ValueError(f"share must be above 0 and at most 1; got {share}.")
    candidates = _write_texts(recipe, lexicon, seed=seed)
    limit = max_cosine if recipe == "csp" else float("inf")
    kept: list[tuple[str, Word]] = []
    for part in ("noun", "adjective"):
        texts = [text for text, word in candidates if word.part == part]
        words = [word for _, word in candidates if word.part == part]
        likeness = _measure_likeness(texts, class_bank, encode_text, quantile, limit)
        order = likeness.argsort(stable=True)[: int(share * len(texts))]
        kept += [(texts[row], words[row]) for row in order.tolist() if likeness[row].isfinite()]
    if not kept:
        raise DataError(
            f"A share of {share} of the {len(candidates)} words of {lexicon.name} leaves no "
            "negative label; take a larger share or more words."
        )
    settings = {"lexicon": lexicon.name, "fingerprint": lexicon.fingerprint}
    settings |= {"num_words": len(lexicon.words), "quantile": quantile, "share": share}
    return MinedWords(
        recipe=recipe,
        texts=tuple(text for text, _ in kept),
        words=tuple(word.text for _, word in kept),
        sources=tuple(" ".join(word.files) for _, word in kept),
        settings=settings | ({"max_cosine": max_cosine, "seed": seed} if recipe == "csp" else {}),
    )


def candidate_texts(recipe: WordRecipe, lexicon: Lexicon, *, seed: int = 0) -> list[str]:
    """All texts that `mine_words` chooses from, in the order of the words.

    Args:
        recipe: Which of the two.
        lexicon: From `read_lexicon`.
        seed: Of "csp" only.

    Example:
        >>> lexicon = Lexicon(name="a", words=(Word(text="cat", part="noun", files=("a",)),))
        >>> candidate_texts("csp", lexicon)
        ['the nice cat']
    """
    return [text for text, _ in _write_texts(recipe, lexicon, seed=seed)]


def _write_texts(recipe: WordRecipe, lexicon: Lexicon, *, seed: int) -> list[tuple[str, Word]]:
    """The texts that a recipe makes, each with its word."""
    if recipe == "neg_label":
        templates = {"noun": "the nice {}", "adjective": "This is a {} photo"}
        return [(templates[word.part].format(word.text), word) for word in lexicon.words]
    generator = random.Random(seed)
    texts = []
    for word in lexicon.words:
        if FILES_WITHOUT_CSP.issuperset(word.files):
            continue
        if word.part == "noun":
            texts.append((f"the nice {word.text}", word))
        else:
            texts.append((f"{word.text} {generator.choice(SUPERCLASSES)}", word))
    return texts


@torch.inference_mode()
def _measure_likeness(
    texts: Sequence[str],
    class_bank: Float[Tensor, "classes dim"],
    encode_text: Callable[[Sequence[str]], Tensor],
    quantile: float,
    limit: float,
) -> Float[Tensor, " texts"]:
    """The quantile of each text's cosines with the classes; infinite where one exceeds `limit`."""
    parts = [class_bank.new_zeros(0).cpu()]
    for first in range(0, len(texts), CHUNK):
        cosines = encode_text(texts[first : first + CHUNK]).to(class_bank) @ class_bank.T
        likeness = _row_quantiles(cosines, quantile)
        likeness[cosines.amax(dim=1) > limit] = float("inf")
        parts.append(likeness.cpu())
    return torch.cat(parts)


def _row_quantiles(
    values: Float[Tensor, "rows columns"], quantile: float
) -> Float[Tensor, " rows"]:
    """What torch.quantile gives for every row, without sorting what lies far below."""
    position = quantile * (values.shape[1] - 1)
    below = int(position)
    highest = values.topk(values.shape[1] - below, dim=1).values
    upper = highest[:, max(0, highest.shape[1] - 2)]
    return torch.lerp(highest[:, -1], upper, position - below)
