"""Pairs and shards that cannot be used: left out, counted, and too many of them refused."""

import io

import numpy as np
import pytest
from PIL import Image

from clipn.data import cache_merge
from clipn.data.cache_shards import NUM_REASONS
from clipn.data.images import read_image
from clipn.data.pairs import open_pairs
from clipn.errors import DataError

CAPTIONS = ["a dog", "a cat", "a bus", "snow", "rain", "fog", "hail"]


def strip() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (1, 2000)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def assert_holds(plain_model, tmp_path):
    """That a cache holds these rows of CAPTIONS and no others, each with its own image."""

    def check(cache, rows):
        choice = cache.choose(np.arange(len(cache)), np.random.default_rng(0))
        pairs = cache.read(choice)
        images = [read_image(tmp_path / f"images/{row}.jpg") for row in rows]
        np.testing.assert_allclose(
            pairs.image, plain_model.encode_image(images).detach(), atol=1e-6
        )
        yes = plain_model.encode_text([CAPTIONS[row] for row in rows]).detach()
        np.testing.assert_allclose(pairs.yes, yes, atol=1e-6)

    return check


def test_what_cannot_be_used_is_left_out_counted_and_reported(
    open_csv_pairs, build, assert_holds, jpeg, tmp_path, caplog
):
    images = {0: jpeg(0)[:300], 2: b"", 5: strip()}
    shards = open_csv_pairs([*CAPTIONS[:6], ""], images=images)
    (tmp_path / "images/3.jpg").unlink()
    cache = build(shards, max_bad_share=0.9)
    assert_holds(cache, [1, 4])
    assert cache.manifest["num_rows"] == 2
    assert cache.manifest["num_bad"] == 5
    assert cache.manifest["shards"] == [
        ["pairs.csv[0:3]", 1],
        ["pairs.csv[3:6]", 1],
        ["pairs.csv[6:7]", 0],
    ]
    reasons = "\n".join(sorted(cache.manifest["reasons"]))
    for what in (
        r"pairs.csv[0:3]/0: ", "Truncated", "it is empty", "no image file", "too narrow",
        "pairs.csv[6:7]/6: the caption is empty",
    ):  # fmt: skip
        assert what in reasons
    assert "pairs.csv[0:3]: left out 2 pairs; pairs.csv[0:3]/0" in caplog.text


@pytest.mark.parametrize("num_views", [1, 2])
def test_a_shard_without_a_usable_pair_may_lie_in_the_middle(
    open_csv_pairs, build, assert_holds, num_views, arrays_of, plain_model
):
    shards = open_csv_pairs(CAPTIONS, images=dict.fromkeys((3, 4, 5), b"bad"))
    views = {"augment": lambda image, _: plain_model.preprocess(image), "num_views": num_views}
    cache = build(shards, max_bad_share=0.5, **views)
    assert_holds(cache, [0, 1, 2, 6])
    assert arrays_of()["image"].shape == (4, num_views, 24)


def test_the_first_shard_may_hold_no_usable_pair(open_csv_pairs, build, assert_holds):
    shards = open_csv_pairs(CAPTIONS, images=dict.fromkeys((0, 1, 2), b"bad"))
    assert_holds(build(shards, max_bad_share=0.5), [3, 4, 5, 6])


def test_a_broken_shard_gives_what_came_before_the_break(build, write_tar, tmp_path, jpeg, caplog):
    members = {"a.jpg": jpeg(0), "a.txt": b"a dog", "b.jpg": jpeg(1), "b.txt": b"a cat"}
    for index in range(3):
        write_tar(tmp_path / f"{index}.tar", {**members, "c.jpg": jpeg(2)})
    whole = (tmp_path / "1.tar").read_bytes()
    (tmp_path / "1.tar").write_bytes(whole[: whole.index(b"c.jpg") + 1000])
    (tmp_path / "2.tar").write_bytes(b"no tar at all")
    cache = build(open_pairs(tmp_path, format="webdataset"), max_bad_share=0.7)
    # Only the next one shows that a pair of a tar is complete.
    assert [num_rows for _, num_rows in cache.manifest["shards"]] == [2, 1, 0]
    assert cache.manifest["num_broken_shards"] == 2
    assert cache.manifest["num_bad"] == 1  # the last image of the whole shard has no caption
    assert sum("is broken" in reason for reason in cache.manifest["reasons"]) == 2
    assert "2.tar: left out 0 pairs; shard 2.tar is broken" in caplog.text


def test_too_many_bad_pairs_end_the_build_with_their_number_and_first_reasons(
    open_csv_pairs, build, tmp_path
):
    shards = open_csv_pairs(CAPTIONS, images=dict.fromkeys((1, 3, 5, 6), b"bad"))
    with pytest.raises(DataError) as caught:
        build(shards)
    message = str(caught.value)
    assert message.startswith("4 of 7 pairs cannot be used, more than the allowed share of 5.0%.")
    assert message.count("cannot be read as an image") == 3
    assert "pairs.csv[0:3]/1" in message
    assert not (tmp_path / "cache" / "manifest.json").exists()


def test_a_share_that_is_just_allowed_is_allowed(open_csv_pairs, build):
    shards = open_csv_pairs(CAPTIONS[:4], images={2: b"bad"})
    with pytest.raises(DataError, match="1 of 4 pairs cannot be used"):
        build(shards, max_bad_share=0.249)
    assert len(build(shards, max_bad_share=0.25)) == 3


def test_a_refused_build_goes_on_once_more_is_allowed(open_csv_pairs, build, counting, plain_model):
    shards = open_csv_pairs(CAPTIONS, images={1: b"bad"})
    with pytest.raises(DataError, match="1 of 7"):
        build(shards)
    encoder = counting(plain_model)
    assert len(build(shards, encoder=encoder, max_bad_share=0.2)) == 6
    assert encoder.num_images == 0


def test_too_many_bad_pairs_end_the_build_as_soon_as_enough_were_seen(
    open_csv_pairs, build, counting, plain_model, monkeypatch
):
    monkeypatch.setattr(cache_merge, "MIN_SEEN", 4)
    encoder = counting(plain_model)
    shards = open_csv_pairs(CAPTIONS, images={1: b"bad", 2: b"bad"})
    with pytest.raises(DataError, match="2 of 6 pairs cannot be used"):
        build(shards, encoder=encoder, max_bad_share=0.3)
    assert encoder.num_images == 4  # the last shard was not begun


def test_a_few_bad_pairs_at_the_start_do_not_end_the_build(open_csv_pairs, build):
    shards = open_csv_pairs(CAPTIONS, images={1: b"bad", 2: b"bad"})
    assert len(build(shards, max_bad_share=0.3)) == 5


def test_too_many_broken_shards_end_the_build(build, write_tar, tmp_path, jpeg):
    for index in range(3):
        (tmp_path / f"{index}.tar").write_bytes(b"no tar")
    write_tar(tmp_path / "3.tar", {"a.jpg": jpeg(0), "a.txt": b"a dog"})
    with pytest.raises(
        DataError, match=r"2 of 4 shards are broken, .* share of 30\.0%\. The first"
    ):
        build(open_pairs(f"{tmp_path}/{{0..3}}.tar"), max_bad_share=0.3)


def test_pairs_that_are_all_bad_are_refused(open_csv_pairs, build):
    shards = open_csv_pairs(CAPTIONS, images=dict.fromkeys(range(7), b"bad"))
    with pytest.raises(
        DataError, match=r"7 of 7 pairs cannot be used.* it is in none of the known"
    ):
        build(shards, max_bad_share=0.99)


def test_a_data_set_without_a_pair_is_refused(build, write_tar, tmp_path):
    write_tar(tmp_path / "empty.tar", {})
    with pytest.raises(DataError, match=r"None of 0 pairs can be used\."):
        build(open_pairs(tmp_path / "empty.tar"))


def test_only_the_first_reasons_are_kept(open_csv_pairs, build):
    num_bad = NUM_REASONS + 5
    shards = open_csv_pairs(
        ["a dog", *["?"] * num_bad], images=dict.fromkeys(range(1, num_bad + 1), b"bad")
    )
    cache = build(shards, max_bad_share=0.99)
    assert cache.manifest["num_bad"] == num_bad
    assert len(cache.manifest["reasons"]) == NUM_REASONS
