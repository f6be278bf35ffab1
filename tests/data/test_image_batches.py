"""Streams of images as batches: order, threads, and what cannot be read."""

import threading
from collections.abc import Callable
from itertools import count

import numpy as np
import pytest
import torch
from PIL import Image

from clipn.data.image_batches import load_batches, map_batches
from clipn.data.images import name_source


def to_pixels(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(image.resize((4, 4)))).permute(2, 0, 1) / 255


def flat(value: int) -> Image.Image:
    return Image.new("RGB", (4, 4), (value, value, value))


def test_batches_keep_the_order_of_the_stream():
    values = list(range(0, 210, 10))
    batches = list(load_batches(map(flat, values), to_pixels, batch_size=4, num_workers=3))
    assert [len(batch.names) for batch in batches] == [4, 4, 4, 4, 4, 1]
    read = torch.cat([batch.pixels for batch in batches])[:, 0, 0, 0] * 255
    torch.testing.assert_close(read, torch.tensor(values, dtype=torch.float32))
    assert all(batch.rows == list(range(len(batch.names))) for batch in batches)
    assert all(batch.errors == {} for batch in batches)


def test_unreadable_images_are_reported_in_their_place(tmp_path):
    flat(0).save(tmp_path / "good.png")
    sources = [
        tmp_path / "gone.png",
        tmp_path / "good.png",
        b"nonsense",
        np.zeros((2, 2)),
        np.zeros((2, 2), dtype=np.int64),
    ]
    (batch,) = load_batches(iter(sources), to_pixels, batch_size=8)
    assert batch.names == [name_source(source) for source in sources]
    assert batch.rows == [1, 3]
    assert batch.pixels.shape == (2, 3, 4, 4)
    assert sorted(batch.errors) == [0, 2, 4]
    assert "gone.png cannot be read as an image" in batch.errors[0]
    assert "<8 bytes> cannot be read as an image" in batch.errors[2]
    assert "has dtype int64" in batch.errors[4]


def test_a_batch_of_unreadable_images_has_no_pixels():
    (batch,) = load_batches([b"a", b"b"], to_pixels, batch_size=8)
    assert batch.pixels is None
    assert batch.rows == []
    assert sorted(batch.errors) == [0, 1]


def test_something_that_is_no_image_is_reported_in_its_place():
    (batch,) = load_batches(iter([flat(0), 3, None]), to_pixels, batch_size=8)
    assert batch.names[1:] == ["<int>", "<NoneType>"]
    assert batch.rows == [0]
    assert sorted(batch.errors) == [1, 2]


def test_what_preprocess_refuses_is_reported_in_its_place():
    def refuse_dark(image):
        if image.getpixel((0, 0)) == (0, 0, 0):
            raise ValueError("too dark")
        return to_pixels(image)

    (batch,) = load_batches([flat(0), flat(9)], refuse_dark, batch_size=2)
    assert batch.errors == {0: "too dark"}
    assert batch.rows == [1]


def test_a_strip_of_an_image_is_reported_before_it_fills_the_memory():
    (batch,) = load_batches([Image.new("L", (1, 10000)), flat(0)], to_pixels, batch_size=2)
    assert batch.rows == [1]
    assert "its 1 x 10000 pixels are too narrow" in batch.errors[0]


def test_an_empty_stream_has_no_batches():
    assert list(load_batches([], to_pixels, batch_size=4)) == []


def test_an_endless_stream_is_read_only_a_little_ahead():
    pulled = 0

    def endless():
        nonlocal pulled
        for value in count():
            pulled += 1
            yield flat(value % 256)

    batches = load_batches(endless(), to_pixels, batch_size=4)
    assert pulled == 0
    for handed_out in range(1, 6):
        next(batches)
        assert pulled <= 4 * (handed_out + 2)
    batches.close()


@pytest.fixture
def count_threads() -> Callable[[], int]:
    """Counts the threads that read images, without those that other tests have left."""
    others = set(threading.enumerate())

    def count_threads() -> int:
        own = set(threading.enumerate()) - others
        return sum(thread.name.startswith("clipn-images") for thread in own)

    return count_threads


def test_stopping_early_stops_the_threads(count_threads):
    batches = load_batches((flat(1) for _ in count()), to_pixels, batch_size=2, num_workers=3)
    next(batches)
    assert count_threads() > 0
    batches.close()
    assert count_threads() == 0


def test_an_error_of_the_stream_itself_comes_through(count_threads):
    def broken():
        yield flat(0)
        raise KeyError("the database has gone")

    with pytest.raises(KeyError, match="the database has gone"):
        list(load_batches(broken(), to_pixels, batch_size=1))
    assert count_threads() == 0


def test_an_unexpected_error_of_preprocess_comes_through(count_threads):
    def broken(image):
        raise ZeroDivisionError("a mistake in the program")

    with pytest.raises(ZeroDivisionError, match="a mistake in the program"):
        list(load_batches([flat(0)] * 9, broken, batch_size=2))
    assert count_threads() == 0


def test_images_are_read_in_several_threads():
    together = threading.Barrier(2, timeout=10)

    def meet(image):
        together.wait()
        return to_pixels(image)

    (batch,) = load_batches([flat(0), flat(1)], meet, batch_size=2, num_workers=2)
    assert batch.rows == [0, 1]


@pytest.mark.parametrize("size", [0, -3])
def test_batches_below_one_image_are_refused(size):
    with pytest.raises(ValueError, match=f"batch_size must be at least 1; got {size}"):
        load_batches([], to_pixels, batch_size=size)
    with pytest.raises(ValueError, match=f"num_workers must be at least 1; got {size}"):
        load_batches([], to_pixels, batch_size=1, num_workers=size)


def test_one_path_is_not_taken_for_a_stream_of_letters():
    with pytest.raises(TypeError, match=r"must be an iterable of images; got one, cat\.jpg"):
        load_batches("cat.jpg", to_pixels, batch_size=1)


def test_a_loader_of_ones_own_gets_the_number_and_the_source_and_may_make_views():
    def load(number, source):
        if number == 2:
            raise ValueError("unwanted")
        return torch.full((2, 3, 4, 4), float(number + 10 * source))

    images = iter([5, 6, 7, 8])
    first, second = map_batches(images, load, batch_size=3, num_workers=2)
    assert first.pixels[:, 0, 0, 0, 0].tolist() == [50, 61]
    assert first.pixels.shape == (2, 2, 3, 4, 4)
    assert first.errors == {2: "unwanted"}
    assert second.pixels[:, 1, 2, 3, 3].tolist() == [83]
