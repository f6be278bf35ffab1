"""The ranking term: the logistic bound of ATD's AUROC over drawn vocabularies."""

import math
import sys

import pytest
import torch
import torch.nn.functional as F

from clipn.losses import PairKeys, clipn_loss, ranking
from clipn.losses.ranking import MIDDLE, MIDDLE_WEIGHT, MIN_KNOWN, _atd_logits, _disorder
from clipn.metrics import auroc
from clipn.scores import atd


@pytest.fixture
def embeddings():
    torch.manual_seed(0)
    return F.normalize(torch.randn(3, 60, 16, dtype=torch.float64), dim=-1)


def test_the_ranked_quantity_is_the_logit_of_the_score(embeddings):
    image, yes, no = embeddings
    score = atd(5 * image @ yes[:7].T, 5 * image @ no[:7].T)
    torch.testing.assert_close(_atd_logits(image, yes[:7], no[:7], tau=5.0), score.logit())


def test_where_probabilities_round_to_one_images_are_still_ranked(embeddings):
    image, yes, _ = embeddings
    logits = _atd_logits(image, yes, -yes, tau=1000.0)
    assert logits.isfinite().all()
    assert len(logits.unique()) == len(logits)


def test_a_tower_that_says_nothing_ranks_by_chance(embeddings):
    image, yes, _ = embeddings
    expected = math.log(2) / 2 + 0.03 * 2**2
    assert ranking(image, yes, yes, tau=10.0).item() == pytest.approx(expected, abs=1e-12)


def test_only_the_middle_of_both_sides_is_held_in_place():
    torch.manual_seed(0)
    above, below = torch.randn(2, 30, dtype=torch.float64) + torch.tensor([[5.0], [0.0]])
    centred = MIDDLE - (above.mean() + below.mean()) / 2
    least = _disorder(above + centred, below + centred)
    pairs = [math.log1p(math.exp(2 * (b - a))) / 2 for a in above for b in below]
    assert least.item() == pytest.approx(sum(pairs) / len(pairs), rel=1e-12)
    for shift in (-3.0, 1.0):
        moved = _disorder(above + centred + shift, below + centred + shift)
        assert (moved - least).item() == pytest.approx(MIDDLE_WEIGHT * shift**2, rel=1e-9)


def test_minimising_it_orders_images_of_vocabularies_that_were_never_drawn():
    torch.manual_seed(0)
    classes = torch.arange(40).repeat(8)
    centre = F.normalize(torch.randn(40, 32), dim=-1)
    image = F.normalize(centre[classes] + 0.4 * torch.randn(320, 32), dim=-1)
    keys = PairKeys(classes, classes)
    no = torch.nn.Parameter(torch.randn(40, 32))
    optimizer = torch.optim.Adam([no], lr=0.05)

    def score(known: int) -> float:
        logits = _atd_logits(image, centre[:known], F.normalize(no, dim=-1)[:known], tau=10.0)
        is_known = classes < known
        return auroc(logits[is_known].detach().numpy(), logits[~is_known].detach().numpy())

    before = score(11)
    for seed in range(150):
        optimizer.zero_grad()
        rows = F.normalize(no, dim=-1)[classes]
        ranking(image, centre[classes], rows, tau=10.0, keys=keys, seed=seed).backward()
        optimizer.step()
    assert before < 0.8
    assert score(11) > 0.88


def test_pairs_of_one_class_are_known_together(embeddings, monkeypatch):
    image, yes, no = embeddings
    classes = torch.arange(60) % 6
    keys = PairKeys(torch.arange(60), classes)
    # With three known of six classes, half of the images are: never an image against its own class.
    same = yes[classes]
    monkeypatch.setattr(sys.modules["clipn.losses.ranking"], "MIDDLE_WEIGHT", 0.0)
    assert ranking(same, same, -same, tau=50.0, keys=keys).item() < 1e-6
    assert ranking(same, same, -same, tau=50.0).item() > 0.1
    assert image.shape == no.shape


def test_fewer_captions_than_two_vocabularies_give_no_loss_but_a_gradient(embeddings):
    image, yes, no = (rows[: 2 * MIN_KNOWN - 1] for rows in embeddings)
    no = no.clone().requires_grad_()
    loss = ranking(image, yes, no, tau=10.0)
    loss.backward()
    assert loss.item() == 0
    assert no.grad is not None
    assert not no.grad.any()


def test_the_draws_follow_from_the_seed(embeddings):
    image, yes, no = embeddings
    first, again, other = (ranking(image, yes, no, tau=9.0, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_it_is_part_of_the_total_where_it_is_named(embeddings):
    image, yes, no = embeddings
    published = clipn_loss(image, yes, no, tau=10.0)
    assert published.ranking.item() == 0
    alone = clipn_loss(image, yes, no, tau=10.0, parts=("ranking",), seed=3)
    assert alone.total == alone.ranking == ranking(image, yes, no, tau=10.0, seed=3)
    both = clipn_loss(image, yes, no, tau=10.0, parts=("itbo", "tso", "ranking"), seed=3)
    torch.testing.assert_close(both.total, published.total + alone.total)
