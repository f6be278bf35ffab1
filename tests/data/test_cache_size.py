"""The size of a cache, told before it is built."""

import numpy as np
import pytest

from clipn.data.cache_size import cache_bytes


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("num_views", [1, 3])
def test_the_size_is_that_of_the_arrays(build, open_csv_pairs, arrays_of, dtype, num_views):
    captions = [f"a photo of thing number {number}" for number in range(10)]
    build(open_csv_pairs(captions), dtype=dtype, num_views=num_views)
    arrays = arrays_of()
    length = arrays["tokens"].shape[1]
    expected = cache_bytes(10, dim=24, context_length=length, dtype=dtype, num_views=num_views)
    assert sum(array.nbytes for array in arrays.values()) == expected


def test_tokens_take_two_bytes_where_the_vocabulary_allows_it(build, open_csv_pairs, arrays_of):
    build(open_csv_pairs(["a photo of a dog", "a cat"]))
    assert arrays_of()["tokens"].dtype == np.uint16


def test_one_part_with_larger_tokens_widens_all(build, open_csv_pairs, arrays_of, plain_model):
    tokenize = plain_model.tokenize

    def tokenize_more(texts):
        tokens = tokenize(texts)
        tokens[tokens == 1929] = 70_000  # "dog"
        return tokens

    shards = open_csv_pairs([f"thing {number}" for number in range(3)] + ["a dog"])
    build(shards)
    narrow = arrays_of()["tokens"]
    plain_model.tokenize = tokenize_more
    plain_model.text.token_embedding.weight.data = plain_model.text.token_embedding.weight[
        np.arange(70_001) % 49408
    ].clone()
    build(shards, folder="wide")
    wide = arrays_of("wide")["tokens"]
    assert wide.dtype == np.int32
    assert wide.max() == 70_000
    np.testing.assert_array_equal(wide[:3], narrow[:3])
