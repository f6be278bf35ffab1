"""The settings of a run: what is refused, and what the result depends on."""

import json
from pathlib import Path

import pytest

from clipn.templates import PAIRED_TEMPLATES
from clipn.training import PairsConfig, TrainConfig


def config(**changes):
    pairs = changes.pop("pairs", PairsConfig(source="pairs.csv"))
    settings = {"model": "small", "out_dir": Path("run"), **changes}
    return TrainConfig(pairs=pairs, **settings)


def test_the_defaults_are_the_published_ones():
    published = config()
    assert published.epochs == 10
    assert published.batch_size == 2048
    assert (published.lr, published.warmup_steps, published.weight_decay) == (3e-4, 0, 0.2)
    assert (published.betas, published.eps) == ((0.9, 0.98), 1e-6)
    assert (published.variant, published.num_prompts) == ("learnable", 16)


@pytest.mark.parametrize(
    "name",
    [
        "epochs",
        "batch_size",
        "num_views",
        "log_every",
        "checkpoint_every",
        "evaluate_every",
        "num_workers",
    ],
)
def test_a_count_below_one_is_refused(name):
    with pytest.raises(ValueError, match=f"{name} must be at least 1; got 0"):
        config(**{name: 0})
    assert getattr(config(**{name: 1}), name) == 1


@pytest.mark.parametrize(
    "name", ["warmup_steps", "weight_decay", "eps", "hardness", "num_prompts", "seed"]
)
def test_a_negative_number_is_refused(name):
    with pytest.raises(ValueError, match=f"{name} must not be negative; got -1"):
        config(**{name: -1})
    assert getattr(config(**{name: 0}), name) == 0


@pytest.mark.parametrize("lr", [0.0, -1e-3, float("nan")])
def test_a_learning_rate_that_is_not_above_zero_is_refused(lr):
    with pytest.raises(ValueError, match="lr must be above 0; got"):
        config(lr=lr)


@pytest.mark.parametrize("betas", [(1.0, 0.9), (0.9, -0.1), (0.9, float("nan"))])
def test_betas_out_of_range_are_refused(betas):
    with pytest.raises(ValueError, match=r"betas must lie in \[0, 1\); got"):
        config(betas=betas)


def test_a_run_without_any_loss_is_refused():
    with pytest.raises(ValueError, match="at least one of 'itbo', 'tso' and 'ranking'; got none"):
        config(losses=())


@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
def test_a_share_of_bad_pairs_out_of_range_is_refused(share):
    with pytest.raises(ValueError, match=r"max_bad_share must lie in \[0, 1\); got"):
        PairsConfig(source="pairs.csv", max_bad_share=share)


def test_wrong_templates_are_refused():
    with pytest.raises(ValueError, match=r"must contain \{\} once"):
        PairsConfig(source="pairs.csv", name_column="name", templates=("a photo",))


def test_synonyms_without_names_are_refused():
    with pytest.raises(ValueError, match="synonyms_column needs name_column"):
        PairsConfig(source="pairs.csv", synonyms_column="synonyms")


def test_the_recipe_is_plain_json():
    recipe = config().recipe()
    assert json.loads(json.dumps(recipe)) == recipe
    assert recipe["pairs"]["templates"] == list(PAIRED_TEMPLATES)
    assert recipe["betas"] == [0.9, 0.98]


def test_the_recipe_leaves_out_places_devices_and_reports():
    elsewhere = config(
        out_dir=Path("elsewhere"),
        cache_dir=Path("cache"),
        accelerator="cpu",
        num_workers=7,
        log_every=3,
        checkpoint_every=3,
        evaluate_every=3,
    )
    assert elsewhere.recipe() == config().recipe()


@pytest.mark.parametrize(
    "change",
    [
        {"lr": 1e-4},
        {"seed": 1},
        {"batch_size": 8},
        {"precision": "bf16-mixed"},
        {"pairs": PairsConfig(source="pairs.csv", class_column="label")},
    ],
)
def test_the_recipe_tells_apart_what_the_result_depends_on(change):
    assert config(**change).recipe() != config().recipe()


def test_the_embeddings_lie_in_the_run_unless_they_are_put_elsewhere():
    assert config().embeddings_dir == Path("run/cache")
    assert config(cache_dir=Path("cache")).embeddings_dir == Path("cache")


def test_strong_views_beside_plain_images_alone_are_refused():
    with pytest.raises(ValueError, match="views 'strong' needs num_views of at least 2"):
        config(views="strong")
    assert config(views="strong", num_views=2).recipe()["views"] == "strong"


def test_runs_at_other_temperatures_or_on_other_pairs_are_others():
    run = config().identity(tau=8.0, data_fingerprint="a")
    assert run == config().identity(tau=8.0, data_fingerprint="a")
    assert run != config().identity(tau=9.0, data_fingerprint="a")
    assert run != config().identity(tau=8.0, data_fingerprint="b")
