"""What a cache is built of: captions, views, "no" captions, and the settings that it depends on."""

import json
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

from clipn.data.cache_shards import BuildSettings
from clipn.data.captions import CaptionRecipe
from clipn.data.embedding_cache import EmbeddingCache
from clipn.data.pairs import Pair, open_pairs
from clipn.errors import DataError
from clipn.model import CLIPN, build_base

CAPTIONS = ["a dog", "two cats on a long grey sofa", "a red bus", "a dog", "snow", "a dog", "rain"]


@dataclass(kw_only=True)
class ListShard:
    """Pairs in memory; each read may hand out other ones."""

    name: str
    reads: list[list[Pair]]
    fingerprint: str = "00"
    num_reads: int = field(default=0)

    def read(self):
        self.num_reads += 1
        yield from self.reads[min(self.num_reads, len(self.reads)) - 1]


def test_a_caption_that_comes_again_is_embedded_once_a_shard(
    open_csv_pairs, build, plain_model, counting, arrays_of
):
    encoder = counting(plain_model)
    cache = build(open_csv_pairs(CAPTIONS, rows_per_shard=7), encoder=encoder)
    assert encoder.num_texts == 5
    assert encoder.num_images == 7
    assert cache.manifest["num_captions"] == 5
    assert arrays_of()["first_caption"].tolist() == [0, 1, 2, 0, 3, 0, 4]


def test_shards_are_put_together_in_order_with_tokens_as_wide_as_the_longest(
    open_csv_pairs, build, plain_model, arrays_of
):
    build(open_csv_pairs(CAPTIONS, rows_per_shard=3), folder="three")
    build(open_csv_pairs(CAPTIONS, rows_per_shard=100), folder="one")
    three, one = arrays_of("three"), arrays_of("one")
    assert three["tokens"].shape[1] == plain_model.tokenize(CAPTIONS).shape[1]
    for row, caption in enumerate(CAPTIONS):
        at = {name: a["first_caption"][row] for name, a in (("three", three), ("one", one))}
        np.testing.assert_array_equal(three["tokens"][at["three"]], one["tokens"][at["one"]])
        assert three["caption_key"][at["three"]] == one["caption_key"][at["one"]]
        ids = plain_model.tokenize([caption])[0].tolist()
        assert three["tokens"][at["three"]][: len(ids)].tolist() == ids
    np.testing.assert_allclose(three["image"], one["image"], atol=1e-6)


def test_views_differ_and_come_again_with_their_seed(open_csv_pairs, build, plain_model, arrays_of):
    shards = open_csv_pairs(CAPTIONS)
    options = {"augment": plain_model.augmentation("strong"), "num_views": 3}
    state = torch.get_rng_state()
    build(shards, folder="first", seed=1, **options)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(123)
    build(shards, folder="again", seed=1, **options)
    build(shards, folder="other", seed=2, **options)
    first, again, other = (arrays_of(name)["image"] for name in ("first", "again", "other"))
    assert first.shape == (7, 3, 24)
    np.testing.assert_array_equal(first, again)
    for row in range(7):
        views = [*first[row], *other[row]]
        assert len({view.tobytes() for view in views}) == 6


@pytest.mark.parametrize("changes", [{"num_workers": 4}, {"batch_size": 2}, {"batch_size": 9}])
def test_neither_threads_nor_batches_change_the_views(
    open_csv_pairs, build, plain_model, arrays_of, changes
):
    shards = open_csv_pairs(CAPTIONS)
    options = {"augment": plain_model.augmentation("strong"), "num_views": 3}
    build(shards, folder="one", **options)
    build(shards, folder="other", **options, **changes)
    atol = 0 if "num_workers" in changes else 1e-6
    np.testing.assert_allclose(arrays_of("one")["image"], arrays_of("other")["image"], atol=atol)


def test_more_views_begin_with_the_same(open_csv_pairs, build, plain_model, arrays_of):
    shards = open_csv_pairs(CAPTIONS)
    for num_views in (2, 3):
        augment = plain_model.augmentation("strong")
        build(shards, folder=str(num_views), augment=augment, num_views=num_views)
    two, three = arrays_of("2")["image"], arrays_of("3")["image"]
    np.testing.assert_allclose(three[:, :2], two, atol=1e-6)


def test_an_image_is_read_once_for_all_its_views(build, plain_model, jpeg):
    pairs = [Pair(key=str(i), image=jpeg(i), captions=("a dog",)) for i in range(3)]
    shard = ListShard(name="counted", reads=[pairs])
    drawn = []
    augment = plain_model.augmentation()

    def watch(image, generator):
        drawn.append(id(image))
        return augment(image, generator)

    build([shard], augment=watch, num_views=4)
    assert shard.num_reads == 1
    assert len(drawn) == 12
    assert [drawn[i : i + 4] == [drawn[i]] * 4 for i in (0, 4, 8)] == [True] * 3


def test_the_views_of_two_shards_are_drawn_apart(build, plain_model, arrays_of, jpeg):
    pair = Pair(key="0", image=jpeg(0), captions=("a dog",))
    shards = [ListShard(name=name, reads=[[pair]]) for name in ("a", "b")]
    build(shards, augment=plain_model.augmentation("strong"), num_views=2)
    assert len({view.tobytes() for view in arrays_of()["image"].reshape(4, -1)}) == 4


@pytest.mark.parametrize("num_workers", [1, 3])
def test_the_number_of_threads_changes_no_bit(open_csv_pairs, build, arrays_of, num_workers):
    shards = open_csv_pairs(CAPTIONS)
    build(shards, folder="two", num_workers=2)
    build(shards, folder="other", num_workers=num_workers)
    two, other = arrays_of("two"), arrays_of("other")
    for name, array in two.items():
        np.testing.assert_array_equal(array, other[name])


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_the_batch_size_changes_nothing_but_rounding(open_csv_pairs, build, arrays_of, batch_size):
    shards = open_csv_pairs(CAPTIONS, rows_per_shard=7)
    build(shards, folder="large", batch_size=256)
    build(shards, folder="small", batch_size=batch_size)
    large, small = arrays_of("large"), arrays_of("small")
    for name, array in large.items():
        np.testing.assert_allclose(array, small[name], atol=1e-6)


def test_token_ids_from_disk_go_to_the_device_of_the_model(learnable_model):
    tokens = learnable_model.tokenize(["a dog"])
    learnable_model.to("meta")
    seen = []
    for tower in (learnable_model.text, learnable_model.no_tower.text):
        # Lengths are not known there, so the towers only say where their tokens are.
        tower.cut = lambda tokens: tokens
        tower.forward = lambda tokens, *_: torch.zeros(len(tokens), 24, device=tokens.device)
        tower.register_forward_pre_hook(lambda module, args: seen.append(args[0].device.type))
    learnable_model.encode_text(tokens)
    learnable_model.encode_text_no(tokens)
    assert seen == ["meta", "meta"]


# Hand-crafted "no"


def test_the_no_captions_of_a_recipe_are_what_the_no_tower_reads(
    build, plain_model, write_tar, tmp_path, jpeg, arrays_of
):
    members = {"0.jpg": jpeg(0), "0.json": b'{"name": "dog", "label": 4}'}
    write_tar(tmp_path / "pairs.tar", members)
    recipe = CaptionRecipe(
        templates=("a photo of a {}.", "there is a {}."),
        negated_templates=("a photo of no {}.", "there is no {} anywhere."),
    )
    cache = build(open_pairs(tmp_path / "pairs.tar", captions=recipe))
    assert cache.has_no_captions
    expected = plain_model.tokenize(["a photo of no dog.", "there is no dog anywhere."])
    np.testing.assert_array_equal(arrays_of()["no_tokens"], expected)
    choice = cache.choose(np.zeros(50, dtype=np.int64), np.random.default_rng(0))
    read = cache.read(choice)
    assert set(choice.captions.tolist()) == {0, 1}
    assert torch.equal(read.tokens, expected[choice.captions])
    yes = plain_model.encode_text(["a photo of a dog.", "there is a dog."])
    torch.testing.assert_close(read.yes, yes[choice.captions])
    assert read.class_ids.tolist() == [4] * 50


def test_captions_without_a_no_get_one_of_each_negated_template(
    open_csv_pairs, build, plain_model, arrays_of
):
    templates = ("not {}.", "a photo without {}.")
    cache = build(open_csv_pairs(["a dog.", "snow"]), negated_templates=templates)
    arrays = arrays_of()
    assert arrays["num_captions"].tolist() == [2, 2]
    expected = ["not a dog.", "a photo without a dog.", "not snow.", "a photo without snow."]
    np.testing.assert_array_equal(arrays["no_tokens"], plain_model.tokenize(expected))
    yes = ["a dog.", "a dog.", "snow", "snow"]
    np.testing.assert_array_equal(arrays["tokens"], plain_model.tokenize(yes))
    assert arrays["caption_key"][0] == arrays["caption_key"][1] != arrays["caption_key"][2]
    assert cache.has_no_captions


def test_a_caption_without_a_word_to_negate_is_left_out_and_counted(open_csv_pairs, build):
    shards = open_csv_pairs(["a dog", ".", "snow"])
    cache = build(shards, negated_templates=("not {}.",), max_bad_share=0.5)
    assert (len(cache), cache.manifest["num_bad"]) == (2, 1)
    assert "/1: 'caption' must hold a word. Got '.' instead." in cache.manifest["reasons"][0]


@pytest.mark.parametrize("first", ["with", "without"])
def test_a_no_that_only_some_shards_bring_is_refused(build, jpeg, first):
    pairs = {
        "with": Pair(key="0", image=jpeg(0), captions=("a dog",), no_captions=("no dog",)),
        "without": Pair(key="1", image=jpeg(1), captions=("a cat",)),
    }
    order = [first, *(pairs.keys() - {first})]
    together = [ListShard(name="both", reads=[list(pairs.values())])]
    with pytest.raises(DataError, match="Some pairs of a shard have hand-crafted 'no'"):
        build(together, folder="together")
    apart = [ListShard(name=name, reads=[[pairs[name]]]) for name in order]
    with pytest.raises(DataError, match=r"00000\d\.npz lacks 'no_tokens', which other shards"):
        build(apart, folder="apart")


# What a cache depends on


def test_a_finished_cache_is_not_built_again(open_csv_pairs, build, plain_model, counting):
    shards = open_csv_pairs(CAPTIONS)
    build(shards)
    encoder = counting(plain_model)
    cache = build(shards, encoder=encoder, batch_size=3, num_workers=2, max_bad_share=0.3)
    assert len(cache) == 7
    assert encoder.num_images == encoder.num_texts == 0


OTHER_SETTINGS = [
    ({"dtype": "float16"}, "dtype 'float32' instead of 'float16'"),
    (
        {"num_views": 2},
        "num_views 1 instead of 2; augment None instead of 'random crop, min_scale 0.9'; "
        "seed None instead of 0",
    ),
    ({"negated_templates": ("not {}.",)}, r"negated_templates \[\] instead of \['not \{\}\.'\]"),
]


@pytest.mark.parametrize("is_finished", [True, False])
@pytest.mark.parametrize(("settings", "what"), OTHER_SETTINGS)
def test_other_settings_are_refused_by_name(
    open_csv_pairs, build, counting, plain_model, settings, what, is_finished
):
    shards = open_csv_pairs(CAPTIONS)
    if is_finished:
        build(shards)
    else:
        with pytest.raises(InterruptedError):
            build(shards, encoder=counting(plain_model, break_after=3))
    with pytest.raises(DataError, match=f"cache was built from something else: {what}. Delete it"):
        build(shards, **settings)


def test_another_seed_matters_to_views_alone(open_csv_pairs, build, plain_model):
    shards = open_csv_pairs(CAPTIONS)
    build(shards, folder="plain", seed=1)
    build(shards, folder="plain", seed=2)
    options = {"num_views": 2}
    build(shards, folder="views", seed=1, **options)
    with pytest.raises(DataError, match="seed 1 instead of 2"):
        build(shards, folder="views", seed=2, **options)


def test_another_model_is_refused(open_csv_pairs, build, counting, plain_model):
    shards = open_csv_pairs(CAPTIONS)
    build(shards)
    with torch.no_grad():
        next(plain_model.visual.parameters()).add_(1)
    with pytest.raises(DataError, match=r"model_fingerprint '[0-9a-f]{16}' instead of"):
        build(shards, encoder=counting(plain_model))


def test_a_taught_no_does_not_make_another_cache(open_csv_pairs, build, counting, plain_model):
    shards = open_csv_pairs(CAPTIONS)
    build(shards)
    plain_model.add_no_tower()
    encoder = counting(plain_model)
    build(shards, encoder=encoder)
    assert encoder.num_images == 0


def test_other_data_are_refused(open_csv_pairs, build):
    build(open_csv_pairs(CAPTIONS))
    with pytest.raises(DataError, match=r"data_fingerprint '[0-9a-f]{16}' instead of"):
        build(open_csv_pairs([*CAPTIONS[:-1], "hail"]))


def test_another_augmentation_is_refused(open_csv_pairs, build, plain_model):
    shards = open_csv_pairs(CAPTIONS)
    build(shards, augment=plain_model.augmentation("strong"), num_views=2)
    with pytest.raises(DataError, match=r"augment 'random crop, min_scale 0\.25, flip_"):
        build(shards, augment=plain_model.augmentation("weak"), num_views=2)


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"num_views": 0}, "num_views must be at least 1; got 0"),
        ({"num_views": 2}, "2 views of each image need augment; got None"),
        ({"max_bad_share": 1.0}, r"max_bad_share must lie in \[0, 1\); got 1.0"),
        ({"max_bad_share": -0.1}, r"max_bad_share must lie in \[0, 1\); got -0.1"),
    ],
)
def test_settings_out_of_range_are_refused(settings, what):
    with pytest.raises(ValueError, match=what):
        BuildSettings(transform=lambda image: torch.zeros(3, 4, 4), **settings)


def test_a_tower_that_may_not_cut_its_captions_keeps_their_full_length(
    open_csv_pairs, build, counting, arrays_of
):
    text = {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
    vision = {"image_size": 32, "layers": 1, "width": 16, "head_width": 8, "patch_size": 16}
    bidirectional = {"embed_dim": 24, "vision_cfg": vision, "custom_text": True}
    bidirectional["text_cfg"] = {**text, "no_causal_mask": True, "pool_type": "last"}
    model = CLIPN(build_base(bidirectional, name="bidirectional"))
    build(open_csv_pairs(CAPTIONS), encoder=counting(model), transform=model.preprocess)
    arrays = arrays_of()
    assert arrays["tokens"].shape[1] == 16
    with torch.inference_mode():
        expected = model.encode_text([CAPTIONS[1]])[0]
    np.testing.assert_allclose(arrays["yes"][1], expected, atol=1e-6)


def test_the_manifest_says_what_is_in_the_cache(open_csv_pairs, build, tmp_path):
    cache = build(open_csv_pairs(CAPTIONS))
    manifest = json.loads((tmp_path / "cache" / "manifest.json").read_text())
    assert manifest == cache.manifest
    assert manifest["num_rows"] == 7
    assert manifest["num_bad"] == manifest["num_broken_shards"] == 0
    assert manifest["shards"] == [
        ["pairs.csv[0:3]", 3],
        ["pairs.csv[3:6]", 3],
        ["pairs.csv[6:7]", 1],
    ]
    assert "no_tokens" not in manifest["arrays"]
    left = {path.name for path in (tmp_path / "cache").iterdir()}
    assert left == {"manifest.json", *(f"{name}.npy" for name in manifest["arrays"])}
    assert isinstance(EmbeddingCache(tmp_path / "cache"), EmbeddingCache)
