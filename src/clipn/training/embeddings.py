"""From a run's settings to the embedding cache of its pairs."""

from collections.abc import Callable

from clipn.data.cache_build import BuildSettings, build_cache
from clipn.data.captions import CaptionRecipe
from clipn.data.embedding_cache import EmbeddingCache
from clipn.data.pairs import Shard, open_pairs
from clipn.model import CLIPN
from clipn.templates import NEGATED_CAPTION_TEMPLATES, NEGATED_TEMPLATES, PAIRED_TEMPLATES
from clipn.training.config import PairsConfig, TrainConfig


def open_cache(
    config: TrainConfig, model: CLIPN, *, on_shard: Callable[[int, int], None] | None = None
) -> EmbeddingCache:
    """Open the embedding cache of a run, building what is missing of it.

    Args:
        config: The run.
        model: Its frozen towers embed the pairs.
        on_shard: Called with (shards done, shards in all) after each shard.

    Raises:
        DataError: If the pairs cannot be read or the cache belongs to other pairs.
    """
    return build_cache(
        open_shards(config.pairs, is_handcrafted=model.variant == "handcrafted"),
        model,
        config.embeddings_dir,
        build_settings(config, model),
        on_shard=on_shard,
    )


def build_settings(config: TrainConfig, model: CLIPN) -> BuildSettings:
    """How the pairs of a run are embedded.

    Args:
        config: The run.
        model: What is taught; it prepares the images, and its variant says how "no" is worded.
    """
    return BuildSettings(
        transform=model.preprocess,
        augment=model.augmentation(config.views),
        num_views=config.num_views,
        num_workers=config.num_workers,
        dtype=config.cache_dtype,
        max_bad_share=config.pairs.max_bad_share,
        negated_templates=NEGATED_CAPTION_TEMPLATES if model.variant == "handcrafted" else (),
    )


def open_shards(pairs: PairsConfig, *, is_handcrafted: bool) -> list[Shard]:
    """The shards of a run's pairs, with "no" captions where negated templates say "no".

    Raises:
        DataError: If the pairs cannot be read.
        ValueError: If no "no" is known for the templates.
    """
    recipe = None
    if pairs.name_column is not None:
        if is_handcrafted and pairs.templates != PAIRED_TEMPLATES:
            raise ValueError(
                "The hand-crafted variant knows a 'no' for the default templates only."
            )
        recipe = CaptionRecipe(
            name_column=pairs.name_column,
            label_column=pairs.class_column,
            synonyms_column=pairs.synonyms_column,
            templates=pairs.templates,
            negated_templates=NEGATED_TEMPLATES if is_handcrafted else (),
        )
    return open_pairs(
        pairs.source,
        format=pairs.format,
        image_column=pairs.image_column,
        caption_column=pairs.caption_column,
        class_column=None if recipe else pairs.class_column,
        captions=recipe,
    )
