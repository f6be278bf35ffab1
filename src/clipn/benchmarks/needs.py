"""Which scores a model and a suite can serve with what they need."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch

from clipn.benchmarks.opening import find_layout
from clipn.benchmarks.options import EvaluationOptions
from clipn.benchmarks.suite import Suite
from clipn.errors import ModelError
from clipn.model import CLIPN
from clipn.scores import SCORES, Score, get_score


def choose_scores(
    names: Literal["all"] | Sequence[str],
    model: CLIPN,
    suite: Suite,
    options: EvaluationOptions,
    data_root: Path,
) -> tuple[list[Score], dict[str, str]]:
    """The scores to measure, and why others of "all" cannot be served.

    Raises:
        ModelError: If a score that was asked for by name cannot be served.
        ValueError: If there is no score of a name.
    """
    if names != "all" and (isinstance(names, str) or "all" in names):
        raise ValueError(f"scores must be 'all' alone, or names of scores; got {names!r}.")
    for name in options.score_options:
        get_score(name)
    scores = [get_score(name) for name in (SCORES if names == "all" else names)]
    reasons = {s.name: why_not_served(s, model, suite, options, data_root) for s in scores}
    not_served = {name: why for name, why in reasons.items() if why is not None}
    if names != "all" and not_served:
        name, why = next(iter(not_served.items()))
        raise ModelError(f"The score {name!r} cannot be served: {why}")
    return [score for score in scores if score.name not in not_served], not_served


def why_not_served(
    score: Score, model: CLIPN, suite: Suite, options: EvaluationOptions, data_root: Path
) -> str | None:
    """What a score needs and cannot get, as a sentence; None if it can be served."""
    if "no" in score.needs and not model.has_no:
        return 'the model has not learned to say "no" (clipn train teaches it).'
    if "id_images" in score.needs:
        if suite.training_set is None:
            return f"the suite {suite.name} has no labelled ID images to fit it on."
        if find_layout(suite.training_set, data_root) is None:
            return (
                f"{suite.training_set.name}, the images to fit it on, are not below '{data_root}'. "
                f"{suite.training_set.where}"
            )
    if "words" in score.needs and options.lexicon is None:
        return "no words are given (install WordNet, or --words, a file with one word a line)."
    if "outliers" in score.needs and options.outliers is None:
        return "no outlier names are given (--outliers, a file with one name a line)."
    if "patches" in score.needs:
        try:
            model.encode_patches(torch.zeros(1, 3, *_input_size(model)))
        except ModelError as error:
            return str(error)
    return None


def _input_size(model: CLIPN) -> tuple[int, int]:
    size = model.source.preprocess["size"]
    return (size, size) if isinstance(size, int) else tuple(size)
