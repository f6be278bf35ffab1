"""Reading a cache: what a row holds, what is drawn of it, and files that do not fit together."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from clipn.data.embedding_cache import EmbeddingCache
from clipn.data.images import read_image
from clipn.data.pairs import open_pairs
from clipn.errors import DataError

CAPTIONS = ["a dog", "two cats on a sofa", "a red bus", "A  DOG ", "snow", "a dog", "rain", "fog"]


def read_all(cache):
    rows = np.arange(len(cache))
    return cache.read(cache.choose(rows, np.random.default_rng(0)))


@pytest.fixture
def finished(open_csv_pairs, build):
    return build(open_csv_pairs(CAPTIONS, labels=[3, 1, "", 3, 0, 3, 2, 2], class_column="label"))


@pytest.mark.parametrize(("dtype", "atol"), [("float32", 1e-6), ("float16", 2e-3)])
def test_a_row_is_what_its_pair_embeds_to_on_its_own(
    dtype, atol, open_csv_pairs, build, plain_model, tmp_path
):
    pairs = read_all(build(open_csv_pairs(CAPTIONS), dtype=dtype))
    with torch.inference_mode():
        for row, caption in enumerate(CAPTIONS):
            image = plain_model.encode_image([read_image(tmp_path / f"images/{row}.jpg")])
            yes = plain_model.encode_text([caption])
            torch.testing.assert_close(pairs.image[row], image[0], atol=atol, rtol=0)
            torch.testing.assert_close(pairs.yes[row], yes[0], atol=atol, rtol=0)
            tokens = plain_model.tokenize([caption])[0]
            assert pairs.tokens[row, : len(tokens)].tolist() == tokens.tolist()
            assert not pairs.tokens[row, len(tokens) :].any()
    assert pairs.image.dtype == pairs.yes.dtype == torch.float32


def test_what_was_rounded_has_length_one_again(open_csv_pairs, build):
    pairs = read_all(build(open_csv_pairs(CAPTIONS), dtype="float16"))
    for embeddings in (pairs.image, pairs.yes):
        torch.testing.assert_close(embeddings.norm(dim=-1), torch.ones(8), atol=1e-6, rtol=0)


def test_classes_come_with_their_rows_and_are_minus_one_where_unknown(finished):
    assert read_all(finished).class_ids.tolist() == [3, 1, -1, 3, 0, 3, 2, 2]


def test_captions_have_equal_keys_where_only_case_and_spaces_differ(finished):
    keys = read_all(finished).caption_keys
    is_dog = torch.tensor([caption.split() in (["a", "dog"], ["A", "DOG"]) for caption in CAPTIONS])
    assert is_dog.sum() == 3
    assert len(set(keys[is_dog].tolist())) == 1
    assert len(set(keys.tolist())) == 6
    assert (keys >= 0).all()


def test_rows_can_be_read_in_any_order_and_more_than_once(finished):
    everything = read_all(finished)
    rows = np.array([7, 0, 0, 3])
    some = finished.read(finished.choose(rows, np.random.default_rng(0)))
    torch.testing.assert_close(some.image, everything.image[rows], atol=0, rtol=0)
    assert some.class_ids.tolist() == [2, 3, 3, 3]


def test_a_part_of_a_choice_reads_the_rows_of_that_part(finished):
    choice = finished.choose(np.arange(8), np.random.default_rng(0))
    whole, part = finished.read(choice), finished.read(choice.part(slice(2, 5)))
    assert torch.equal(part.image, whole.image[2:5])
    assert torch.equal(part.tokens, whole.tokens[2:5])


def test_every_view_and_every_caption_of_a_row_is_drawn(tmp_path, jpeg, build):
    captions = [["a dog", "a hound"], ["one", "two", "three"]]
    table = pa.table(
        {"image": [{"bytes": jpeg(i), "path": None} for i in range(2)], "caption": captions}
    )
    pq.write_table(table, tmp_path / "pairs.parquet")
    cache = build(open_pairs(tmp_path / "pairs.parquet"), num_views=3)
    choice = cache.choose(np.array([0, 1] * 100), np.random.default_rng(0))
    drawn = {(row, view) for row, view in zip(choice.rows, choice.views, strict=True)}
    assert drawn == {(row, view) for row in (0, 1) for view in (0, 1, 2)}
    for row, of_row in enumerate(captions):
        found = cache.read(choice)
        keys = set(found.caption_keys[choice.rows == row].tolist())
        assert len(keys) == len(of_row)


def test_the_same_generator_draws_the_same(finished):
    rows = np.arange(8)
    one, two = (finished.choose(rows, np.random.default_rng(5)) for _ in range(2))
    assert one.captions.tolist() == two.captions.tolist()
    assert one.views.tolist() == two.views.tolist()


# What does not fit together


def test_a_folder_without_a_cache_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"nothing/manifest\.json cannot be read as a manifest"):
        EmbeddingCache(tmp_path / "nothing")


@pytest.mark.parametrize("name", ["image", "first_caption", "yes", "tokens", "caption_key"])
def test_a_truncated_array_is_refused(finished, name):
    path = finished.folder / f"{name}.npy"
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(DataError, match=rf"{name}\.npy cannot be read"):
        EmbeddingCache(finished.folder)


def test_a_missing_array_is_refused(finished):
    (finished.folder / "class_id.npy").unlink()
    with pytest.raises(DataError, match=r"class_id\.npy cannot be read: .*No such file"):
        EmbeddingCache(finished.folder)


@pytest.fixture
def unsealed(finished):
    """A finished cache whose manifest notes no checksums."""
    path = finished.folder / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["crc32"]
    path.write_text(json.dumps(manifest))
    return finished


@pytest.mark.parametrize("name", ["image", "first_caption", "tokens"])
def test_a_bit_that_turned_over_is_noticed(finished, name):
    path = finished.folder / f"{name}.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"{name}\.npy cannot be read: its checksum is not"):
        EmbeddingCache(finished.folder)


def test_an_array_of_another_shape_is_refused(unsealed):
    np.save(unsealed.folder / "image.npy", np.zeros((8, 24)))
    with pytest.raises(DataError, match=r"image\.npy is of shape \(8, 24\); the manifest says 8"):
        EmbeddingCache(unsealed.folder)
    np.save(unsealed.folder / "image.npy", np.array(3.0))
    with pytest.raises(DataError, match=r"image\.npy is of shape \(\)"):
        EmbeddingCache(unsealed.folder)


def test_pickled_arrays_are_not_unpickled(unsealed):
    np.save(unsealed.folder / "yes.npy", np.array([{}] * 7, dtype=object))
    with pytest.raises(DataError, match=r"yes\.npy cannot be read: .*Python objects"):
        EmbeddingCache(unsealed.folder)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"num_rows": 9}, "its shards have 8 rows, not 9"),
        ({"shards": [["a", 8, 1]]}, "is damaged: its shards are"),
        ({"crc32": 7}, "is damaged: its crc32 is 7"),
        ({"num_captions": 6}, "the manifest says 6 rows"),
        ({"num_rows": None}, "is damaged: its num_rows is None"),
        ({"num_captions": "7"}, "is damaged: its num_captions is '7'"),
        ({"arrays": None}, "is damaged: its arrays is None"),
        ({"arrays": ["no_tokens"]}, r"no_tokens\.npy cannot be read"),
    ],
)
def test_a_manifest_that_was_edited_is_refused(finished, change, what):
    path = finished.folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(DataError, match=what):
        EmbeddingCache(finished.folder)


@pytest.mark.parametrize("text", ["", "{", "\0", "[1, 2]"])
def test_a_manifest_that_is_none_is_refused(finished, text):
    (finished.folder / "manifest.json").write_text(text)
    with pytest.raises(DataError, match=r"manifest\.json (cannot be read as|is not) a manifest"):
        EmbeddingCache(finished.folder)


def test_a_row_knows_its_shard_and_its_place_there(build, open_csv_pairs):
    shards = open_csv_pairs([f"thing {number}" for number in range(8)], images={1: b"no image"})
    cache = build(shards, max_bad_share=0.5)
    names = [shard.name for shard in shards]
    expected = [(names[0], 0), (names[0], 1), *((names[1], place) for place in range(3))]
    assert [cache.locate(row) for row in range(7)] == [*expected, (names[2], 0), (names[2], 1)]
