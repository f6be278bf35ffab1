"""Serve a score with what it needs and run it over the sets of a suite."""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from clipn.benchmarks.embedded import EmbeddedSet, EmbeddedSuite
from clipn.benchmarks.embeddings import map_set
from clipn.benchmarks.options import ScoreOptions
from clipn.benchmarks.results import SetScores
from clipn.scores import ImageBatch, Score, Scorer, Task

CHUNK = 4096  # embeddings scored at once


def score_suite(score: Score, options: ScoreOptions, suite: EmbeddedSuite) -> SetScores:
    """Score every image of a suite.

    Args:
        score: Which score; `clipn.benchmarks.run.why_not_served` has found nothing missing.
        options: The score's options.
        suite: What it is served from.

    Returns:
        The scores in the order of the images, NaN where one could not be read.
    """
    task = build_task(score, suite)
    if "order" in score.needs:
        return _score_streams(score, options, task, suite)
    scorer = score.prepare(task, **options)
    inside = _score_set(score, options, scorer, suite.id_set, suite)
    outside = {
        name: _score_set(score, options, scorer, ood_set, suite)
        for name, ood_set in suite.ood_sets.items()
    }
    return SetScores(id_scores=dict.fromkeys(outside, inside), ood_scores=outside)


def build_task(score: Score, suite: EmbeddedSuite) -> Task:
    """What the score may know before it sees an image: no more than it declares to need."""
    model, needs = suite.model, score.needs
    extra: dict[str, Any] = {}
    if "no" in needs:
        extra["no"] = suite.bank.no
    if "id_images" in needs:
        assert suite.training_set is not None
        extra["id_image"], extra["id_labels"] = _labelled_rows(suite.training_set)
    if "gradients" in needs:
        extra["encode_image"] = model.encode_image
        extra["pixel_std"] = tuple(model.source.preprocess["std"])
    if "words" in needs:
        assert score.words is not None
        extra["negatives"] = suite.negatives[score.words]
    if "outliers" in needs:
        extra["outliers"] = suite.outliers
    return Task(yes=suite.bank.yes, tau=model.tau, **extra)


def _labelled_rows(
    embedded: EmbeddedSet,
) -> tuple[Float[Tensor, "images dim"], Int[Tensor, " images"]]:
    """Embeddings and labels of the images that could be read."""
    assert embedded.images.labels is not None
    readable = embedded.rows.is_readable
    labels = np.array(embedded.images.labels, dtype=np.int64)
    values = np.asarray(embedded.rows.values)[readable]
    return torch.from_numpy(values), torch.from_numpy(labels[readable])


def _score_set(
    score: Score, options: ScoreOptions, scorer: Scorer, embedded: EmbeddedSet, suite: EmbeddedSuite
) -> Float[np.ndarray, " images"]:
    """Score a set from its embeddings, or from its pixels where the score must see them."""
    if score.needs & {"gradients", "patches"}:
        return _score_pixels(score, options, scorer, embedded, suite)
    readable = embedded.rows.is_readable
    scores = np.full(len(readable), np.nan)
    scores[readable] = _score_rows(scorer, embedded.rows.values, np.flatnonzero(readable))
    return scores


def _score_rows(
    scorer: Scorer,
    values: Float[np.ndarray, "images dim"],
    rows: Int[np.ndarray, " chosen"],
) -> Float[np.ndarray, " chosen"]:
    """Score the embeddings of some rows in chunks, in the order of `rows`."""
    parts = [
        scorer(ImageBatch(image=torch.from_numpy(values[chunk]))).double().cpu().numpy()
        for chunk in _chunks(rows)
    ]
    return np.concatenate(parts) if parts else np.zeros(0)


def _chunks(rows: Int[np.ndarray, " chosen"]) -> Iterator[Int[np.ndarray, " chunk"]]:
    for first in range(0, len(rows), CHUNK):
        yield rows[first : first + CHUNK]


def _score_pixels(
    score: Score, options: ScoreOptions, scorer: Scorer, embedded: EmbeddedSet, suite: EmbeddedSuite
) -> Float[np.ndarray, " images"]:
    """Score a set in one pass over its images; what is done is kept as embeddings are."""
    model = suite.model

    def make_rows(
        pixels: Float[Tensor, "batch 3 height width"], numbers: list[int]
    ) -> Float[Tensor, "batch 1"]:
        """Score a batch of preprocessed images, whose embeddings are there already."""
        with torch.set_grad_enabled("gradients" in score.needs):
            batch = ImageBatch(
                image=torch.from_numpy(embedded.rows.values[numbers]).to(model.device),
                patches=model.encode_patches(pixels) if "patches" in score.needs else None,
                pixels=pixels,
            )
            return scorer(batch).detach()[:, None]

    digest = hashlib.sha256(suite.bank.yes.cpu().numpy().tobytes()).hexdigest()[:16]
    kind = f"{score.name} {json.dumps(dict(options), sort_keys=True)} of bank {digest}"
    rows = map_set(model, embedded.images, make_rows, suite.options, dim=1, kind=kind)
    return np.asarray(rows.values, dtype=np.float64)[:, 0]


def _score_streams(
    score: Score, options: ScoreOptions, task: Task, suite: EmbeddedSuite
) -> SetScores:
    """Score each OOD set in one shuffled stream with the ID images, from a fresh start."""
    inside, outside = {}, {}
    for name, ood_set in suite.ood_sets.items():
        sets = (suite.id_set.rows, ood_set.rows)
        values = np.concatenate([np.asarray(rows.values) for rows in sets])
        readable = np.concatenate([rows.is_readable for rows in sets])
        order = np.random.default_rng(suite.seed).permutation(np.flatnonzero(readable))
        scores = np.full(len(values), np.nan)
        scores[order] = _score_rows(score.prepare(task, **options), values, order)
        num_id = len(suite.id_set.rows.values)
        inside[name], outside[name] = scores[:num_id], scores[num_id:]
    return SetScores(id_scores=inside, ood_scores=outside)


def best_classes(suite: EmbeddedSuite, embedded: EmbeddedSet) -> Int[np.ndarray, " images"]:
    """The most likely class of each image, a row of the bank; -1 where it could not be read."""
    best = [yes.argmax(dim=1).cpu().numpy() for yes, _ in _logits(suite, embedded.rows.values)]
    return np.where(embedded.rows.is_readable, np.concatenate(best), -1).astype(np.int32)


def are_right(
    best: Int[np.ndarray, " images"], embedded: EmbeddedSet
) -> Bool[np.ndarray, " images"] | None:
    """Whether the most likely class of each image is its own; None without labels.

    An image that could not be read is not right.
    """
    labels = embedded.images.labels
    if labels is None:
        return None
    return (best == np.array(labels)) & embedded.rows.is_readable


def are_refused(
    score: Score, suite: EmbeddedSuite, embedded: EmbeddedSet
) -> Bool[np.ndarray, " readable"]:
    """Which of the images that could be read the score's own rule refuses."""
    assert score.refuses is not None
    values = np.asarray(embedded.rows.values)[embedded.rows.is_readable]
    refused = [score.refuses(yes, no).cpu().numpy() for yes, no in _logits(suite, values)]
    return np.concatenate(refused)


def _logits(
    suite: EmbeddedSuite, values: Float[np.ndarray, "images dim"]
) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Both logits in float64, chunk by chunk."""
    for rows in _chunks(np.arange(len(values))):
        logits = suite.model.logits(torch.from_numpy(values[rows]), suite.bank)
        yield logits.yes.double(), None if logits.no is None else logits.no.double()
