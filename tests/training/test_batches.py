"""Which pairs, captions and prompts a step sees."""

import numpy as np
import pytest
import torch

from clipn.errors import TrainingError
from clipn.training.batches import BatchPlan


@pytest.fixture
def plan_of(cache):
    def make(**changes):
        return BatchPlan(
            **{"cache": cache, "batch_size": 8, "num_prompts": 16, "seed": 0, **changes}
        )

    return make


def rows_of(batch):
    """What tells the pairs of a batch apart."""
    return [row.numpy().tobytes() for row in batch.pairs.image]


def assert_equal(batch, other):
    for name in ("image", "yes", "tokens", "caption_keys", "class_ids"):
        assert torch.equal(getattr(batch.pairs, name), getattr(other.pairs, name))
    assert torch.equal(drawn_texts(batch), drawn_texts(other))


def drawn_texts(batch):
    """The tokens and the prompt that each pair's "no" is made from."""
    texts = torch.cat([batch.tokens, batch.prompt_ids[:, None]], dim=1)
    return texts[batch.text_of_pair]


@pytest.mark.parametrize(("batch_size", "num_steps"), [(8, 3), (7, 3), (24, 1), (1, 24), (13, 1)])
def test_a_pair_comes_at_most_once_an_epoch(plan_of, batch_size, num_steps):
    plan = plan_of(batch_size=batch_size)
    assert plan.steps_an_epoch == num_steps
    for epoch in range(3):
        steps = range(epoch * num_steps, (epoch + 1) * num_steps)
        rows = [row for step in steps for row in rows_of(plan.read(step))]
        assert len(rows) == len(set(rows)) == batch_size * num_steps


def test_every_epoch_has_an_order_of_its_own(plan_of):
    plan = plan_of(batch_size=24)
    orders = [tuple(rows_of(plan.read(epoch))) for epoch in range(4)]
    assert len(set(orders)) == 4
    assert len({frozenset(order) for order in orders}) == 1


@pytest.mark.parametrize("num_ranks", [2, 4])
def test_the_ranks_together_draw_what_one_process_draws(plan_of, num_ranks):
    plan = plan_of()
    for step in range(6):
        whole = plan.read(step)
        parts = [plan.read(step, rank=rank, num_ranks=num_ranks) for rank in range(num_ranks)]
        assert {len(part.pairs.image) for part in parts} == {8 // num_ranks}
        for name in ("image", "yes", "tokens", "caption_keys", "class_ids"):
            together = torch.cat([getattr(part.pairs, name) for part in parts])
            assert torch.equal(together, getattr(whole.pairs, name))
        assert torch.equal(torch.cat([drawn_texts(part) for part in parts]), drawn_texts(whole))


def test_a_step_is_a_function_of_seed_and_step_alone(plan_of):
    first, again, other = plan_of(seed=1), plan_of(seed=1), plan_of(seed=2)
    batches = [first.read(step) for step in range(7)]
    torch.manual_seed(99)
    np.random.default_rng()
    for step in (6, 0, 4, 3):
        assert_equal(again.read(step), batches[step])
        assert rows_of(other.read(step)) != rows_of(batches[step])


def test_all_prompts_and_their_mean_are_drawn(plan_of):
    plan = plan_of(num_prompts=4)
    drawn = torch.cat([drawn_texts(plan.read(step))[:, -1] for step in range(30)])
    counts = torch.bincount(drawn)
    assert len(counts) == 5
    assert counts.min() > 240 / 5 / 2


def test_each_pair_draws_its_own_caption_and_reads_its_tokens(plan_of):
    for step in range(6):
        batch = plan_of().read(step)
        assert torch.equal(batch.tokens[batch.text_of_pair], batch.pairs.tokens)


@pytest.mark.parametrize("num_ranks", [1, 2])
def test_pairs_of_a_class_can_share_their_text(plan_of, cache, monkeypatch, num_ranks):
    classes = []

    def class_ids(rows):
        classes.append(rows % 5)
        return rows % 5

    monkeypatch.setattr(cache, "class_ids", class_ids)
    plan = plan_of(captions="per_class", batch_size=24)
    batches = [plan.read(0, rank=rank, num_ranks=num_ranks) for rank in range(num_ranks)]
    assert all(len(batch.tokens) <= 5 for batch in batches)
    texts = torch.cat([drawn_texts(batch) for batch in batches]).tolist()
    pairs = {(int(c), tuple(text)) for c, text in zip(classes[0], texts, strict=True)}
    assert len(pairs) == 5, "one text a class"
    own = drawn_texts(plan_of(batch_size=24).read(0)).tolist()
    assert len({tuple(text) for text in own}) > 5


def test_pairs_without_a_class_share_no_text(plan_of, cache, monkeypatch):
    plain = plan_of(batch_size=24).read(0)
    monkeypatch.setattr(cache, "class_ids", lambda rows: np.full(len(rows), -1))
    assert_equal(plan_of(batch_size=24, captions="per_class").read(0), plain)


def test_without_prompts_none_are_drawn(plan_of):
    assert plan_of(num_prompts=0).read(0).prompt_ids is None


def test_fewer_pairs_than_a_batch_make_one_smaller_batch(plan_of):
    plan = plan_of(batch_size=2048)
    assert plan.fit(num_ranks=1).batch_size == 24
    assert plan.fit(num_ranks=1).steps_an_epoch == 1
    assert plan.fit(num_ranks=16).batch_size == 16
    assert len(plan.fit(num_ranks=1).read(5).pairs.image) == 24


def test_a_batch_that_fits_stays_as_it_is(plan_of):
    assert plan_of(batch_size=8).fit(num_ranks=4).batch_size == 8


def test_a_batch_that_the_ranks_cannot_share_is_refused(plan_of):
    with pytest.raises(ValueError, match="divisible by the 3 ranks; got 8"):
        plan_of(batch_size=8).fit(num_ranks=3)


def test_fewer_pairs_than_ranks_are_refused(plan_of):
    with pytest.raises(TrainingError, match="24 pairs are too few for 32 ranks"):
        plan_of(batch_size=2048).fit(num_ranks=32)
