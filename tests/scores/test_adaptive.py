"""The score that learns from the stream."""

import re

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from clipn.scores import ImageBatch, Task, ada_neg, get_score, neg_label

TAU = 30.0


def by_the_book(
    image: Tensor, yes: Tensor, negatives: Tensor, *, groups: int, length: int
) -> list[float]:
    """The definition, image by image, without any cleverness."""
    texts = torch.cat([yes, negatives])
    memories = [[(0.0, text)] for text in texts]
    scores = []
    for embedding in image:
        logits = TAU * texts @ embedding
        inside, outside = logits[: len(yes)], logits[len(yes) :]
        static = neg_label(inside[None], outside[None], groups=groups).item()
        for is_offered, part, first in (
            (static > 0.75, inside, 0),
            (static < 0.25, outside, len(yes)),
        ):
            if not is_offered:
                continue
            entropy = torch.distributions.Categorical(logits=part).entropy().item()
            memory = memories[first + int(part.argmax())]
            if len(memory) == length:
                worst = max(range(length), key=lambda slot: memory[slot][0])
                if entropy < memory[worst][0]:
                    memory[worst] = (entropy, embedding)
            else:
                memory.append((entropy, embedding))
        means = [torch.stack([held for _, held in memory]).mean(dim=0) for memory in memories]
        logits = TAU * F.normalize(torch.stack(means), dim=1) @ embedding
        inside, outside = logits[: len(yes)], logits[len(yes) :]
        adaptive = neg_label(inside[None], outside[None], groups=groups).item()
        scores.append((adaptive + 0.1 * static) / 1.1)
    return scores


@pytest.fixture
def stream() -> tuple[Tensor, Tensor, Tensor]:
    """Images around texts, so that some are admitted to either side; classes; words."""
    texts = F.normalize(torch.randn(16, 6, dtype=torch.float64), dim=1)
    image = texts[torch.randint(0, 16, (150,))] + 0.3 * torch.randn(150, 6, dtype=torch.float64)
    return F.normalize(image, dim=1), texts[:4], texts[4:]


@pytest.mark.parametrize("length", [1, 2, 4, 10])
@pytest.mark.parametrize("groups", [1, 5])
def test_a_stream_is_scored_as_the_definition_says(
    stream: tuple[Tensor, Tensor, Tensor], length: int, groups: int
):
    values = ada_neg(*stream, tau=TAU, groups=groups, length=length)
    expected = by_the_book(*stream, groups=groups, length=length)
    torch.testing.assert_close(values, torch.tensor(expected, dtype=torch.float64))
    assert ((values >= 0) & (values <= 1)).all()


def test_memories_change_scores_and_full_ones_still_learn(stream: tuple[Tensor, Tensor, Tensor]):
    by_length = [ada_neg(*stream, tau=TAU, length=length) for length in (1, 2, 10)]
    assert (by_length[0] - by_length[1]).abs().max() > 1e-3
    assert (by_length[1] - by_length[2]).abs().max() > 1e-3


@pytest.mark.parametrize("options", [{"gap": 1.0}, {"length": 1}])
def test_memories_that_hold_nothing_leave_neg_label_in_five_groups(
    stream: tuple[Tensor, Tensor, Tensor], options: dict
):
    image, yes, negatives = stream
    values = ada_neg(*stream, tau=TAU, **options)
    expected = neg_label(TAU * image @ yes.T, TAU * image @ negatives.T, groups=5)
    torch.testing.assert_close(values, expected)


def test_it_does_not_matter_in_which_batches_the_stream_comes(
    full_task: Task, monkeypatch: pytest.MonkeyPatch, stream: tuple[Tensor, Tensor, Tensor]
):
    image, yes, negatives = stream
    task = Task(yes=yes, tau=TAU, negatives=negatives)
    whole = get_score("ada_neg").prepare(task)(ImageBatch(image=image))
    scorer = get_score("ada_neg").prepare(task)
    parts = torch.cat([scorer(part) for part in ImageBatch(image=image).split(7)])
    torch.testing.assert_close(parts, whole, rtol=1e-9, atol=1e-12)
    monkeypatch.setattr("clipn.scores.adaptive.BLOCK", 13)
    torch.testing.assert_close(ada_neg(*stream, tau=TAU), whole, rtol=1e-9, atol=1e-12)


def test_no_later_image_changes_a_score(stream: tuple[Tensor, Tensor, Tensor]):
    image, *texts = stream
    first = ada_neg(image[:60], *texts, tau=TAU)
    torch.testing.assert_close(ada_neg(image, *texts, tau=TAU)[:60], first)


def test_the_order_of_the_stream_matters(stream: tuple[Tensor, Tensor, Tensor]):
    image, *texts = stream
    backwards = ada_neg(image.flip(0), *texts, tau=TAU).flip(0)
    assert (backwards - ada_neg(image, *texts, tau=TAU)).abs().max() > 1e-3


def test_a_scorer_remembers_and_another_one_starts_anew(stream: tuple[Tensor, Tensor, Tensor]):
    image, yes, negatives = stream
    task, batch = Task(yes=yes, tau=TAU, negatives=negatives), ImageBatch(image=image)
    scorer = get_score("ada_neg").prepare(task)
    first = scorer(batch)
    assert (scorer(batch) - first).abs().max() > 1e-3
    torch.testing.assert_close(get_score("ada_neg").prepare(task)(batch), first, rtol=0, atol=0)


def test_single_precision_gives_close_scores(stream: tuple[Tensor, Tensor, Tensor]):
    single = ada_neg(*(part.float() for part in stream), tau=TAU)
    assert single.dtype == torch.float64
    torch.testing.assert_close(single, ada_neg(*stream, tau=TAU), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"length": 0}, "length must be at least 1; got 0"),
        ({"threshold": 1.5}, "threshold must lie between 0 and 1; got 1.5"),
        ({"gap": -0.1}, "gap must lie between 0 and 1; got -0.1"),
        ({"static_weight": -1.0}, "static_weight must be at least 0; got -1.0"),
        ({"groups": 13}, "groups must lie between 1 and the number of words, 12; got 13"),
    ],
)
def test_wrong_options_are_refused(
    stream: tuple[Tensor, Tensor, Tensor], options: dict, message: str
):
    with pytest.raises(ValueError, match=re.escape(message)):
        ada_neg(*stream, tau=TAU, **options)
