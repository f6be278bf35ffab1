"""A suite made ready for its scores: sets opened and embedded, classes embedded, words mined."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from clipn.benchmarks.embeddings import EmbeddingOptions, Rows, embed_set
from clipn.benchmarks.opening import open_set
from clipn.benchmarks.options import EvaluationOptions
from clipn.benchmarks.suite import Suite
from clipn.benchmarks.word_embeddings import embed_candidates
from clipn.data.image_sets import ImageSet
from clipn.errors import DataError
from clipn.model import CLIPN, ClassBank
from clipn.model.bank_cache import cached_class_bank
from clipn.scores import MinedWords, Score, WordRecipe, mine_words


@dataclass(frozen=True, kw_only=True)
class EmbeddedSet:
    """A set of images with their embeddings."""

    images: ImageSet
    rows: Rows


@dataclass(frozen=True, kw_only=True)
class EmbeddedSuite:
    """All that the scores of one model on one suite are served from.

    Attributes:
        name: Of the suite.
        model: The model.
        bank: Its embeddings of the class names.
        id_set: The ID images; their labels are rows of the bank.
        ood_sets: The OOD images, by the name of their set.
        training_set: Labelled ID images that are no test images; None where there are none.
        options: How images are read.
        negatives: Embeddings of mined words, by the name of the recipe.
        outliers: Embeddings of outlier names.
        seed: Of the order of streams.
    """

    name: str
    model: CLIPN
    bank: ClassBank
    id_set: EmbeddedSet
    ood_sets: dict[str, EmbeddedSet]
    training_set: EmbeddedSet | None
    options: EmbeddingOptions
    negatives: dict[str, Float[Tensor, "words dim"]] = field(default_factory=dict)
    outliers: Float[Tensor, "outliers dim"] | None = None
    seed: int = 0

    @property
    def test_sets(self) -> dict[str, EmbeddedSet]:
        """The ID set, then the OOD sets, by their names."""
        return {self.id_set.images.name: self.id_set, **self.ood_sets}


def embed_suite(
    model: CLIPN,
    suite: Suite,
    data_root: Path,
    out_dir: Path,
    scores: Sequence[Score],
    options: EvaluationOptions,
) -> EmbeddedSuite:
    """Open and embed every set that a score asks for."""
    how = EmbeddingOptions(
        cache_dir=options.cache_dir or out_dir / "cache",
        native=suite.native,
        batch_size=options.batch_size,
        num_workers=options.num_workers,
        on_rows=options.on_rows,
    )
    specs = [suite.id_set, *suite.ood_sets]
    has_fitting = any("id_images" in score.needs for score in scores)
    if has_fitting and suite.training_set is not None:
        specs.append(suite.training_set)
    # All are opened before the first is embedded: what is missing is told at once.
    opened = [open_set(spec, data_root, suite=suite, counts=options.counts) for spec in specs]
    embedded = [EmbeddedSet(images=images, rows=embed_set(model, images, how)) for images in opened]
    for one in embedded:
        if not one.rows.is_readable.any():
            raise DataError(f"No image of the set {one.images.name} can be read.")
    num_ood = len(suite.ood_sets)
    return EmbeddedSuite(
        name=suite.name,
        model=model,
        bank=cached_class_bank(
            model, suite.class_names, templates=options.templates or suite.templates
        ),
        id_set=embedded[0],
        ood_sets={spec.name: one for spec, one in zip(suite.ood_sets, embedded[1:], strict=False)},
        training_set=embedded[1 + num_ood] if len(embedded) > 1 + num_ood else None,
        options=how,
        outliers=_encode_outliers(model, options),
        seed=options.seed,
    )


@torch.inference_mode()
def _encode_outliers(
    model: CLIPN, options: EvaluationOptions
) -> Float[Tensor, "outliers dim"] | None:
    if options.outliers is None:
        return None
    return model.class_bank(options.outliers, templates=options.templates).yes


def mine_for(
    embedded: EmbeddedSuite,
    out_dir: Path,
    scores: Sequence[Score],
    options: EvaluationOptions,
) -> dict[str, MinedWords]:
    """Mine the words of every recipe that a score asks for, and keep them beside the results."""
    mined: dict[str, MinedWords] = {}
    recipes: dict[WordRecipe, None] = {s.words: None for s in scores if s.words is not None}
    for recipe in recipes:
        assert options.lexicon is not None
        encode_text = embed_candidates(
            embedded.model, recipe, options.lexicon, embedded.options.cache_dir
        )
        words = mine_words(
            recipe, options.lexicon, class_bank=embedded.bank.yes, encode_text=encode_text
        )
        words.save(out_dir / "words" / f"{embedded.name}-{recipe}.json")
        embedded.negatives[recipe] = encode_text(words.texts)
        mined[recipe] = words
    return mined
