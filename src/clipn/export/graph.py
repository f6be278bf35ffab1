"""The detector as one graph of tensors: pixels in, embeddings, logits, scores and decision out."""

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from clipn.detector import Detector
from clipn.export.metadata import Banks
from clipn.predictions import Rule, Threshold
from clipn.scores import SCORES, Score
from clipn.scores.arguments import read_arguments

__all__ = ["OOD", "DetectorGraph", "GraphOutputs", "simple_scores"]

OOD = -1
"""The decision for an image that shows none of the classes."""


class GraphOutputs(NamedTuple):
    """What a graph computes of a batch of images, in the order of the file's outputs.

    Attributes:
        embedding: L2-normalised.
        logits_yes: tau times the cosine with each class.
        logits_no: tau times the cosine with the "no" of each class; None for a plain CLIP.
        score: The detector's score, higher = more in-distribution.
        scores: Every simple score, a column each.
        refusals: What each decision rule refuses, a column each; None where there is no rule.
        decision: The row of the class in the bank, or -1 for "none of these"; None where nothing
            decides yet.
    """

    embedding: Float[Tensor, "batch dim"]
    logits_yes: Float[Tensor, "batch classes"]
    logits_no: Float[Tensor, "batch classes"] | None
    score: Float[Tensor, " batch"]
    scores: Float[Tensor, "batch scores"]
    refusals: Bool[Tensor, "batch rules"] | None
    decision: Int[Tensor, " batch"] | None


def simple_scores(*, has_no: bool, own: str) -> tuple[Score, ...]:
    """The scores that a graph holds: functions of one image and the classes.

    Args:
        has_no: Whether the model has learned "no".
        own: The detector's score, which may be one that a user registered.

    Example:
        >>> [score.name for score in simple_scores(has_no=False, own="msp")]
        ['msp', 'max_logit', 'energy', 'mcm']
    """
    allowed = {"no"} if has_no else set()
    return tuple(
        score
        for score in SCORES.values()
        if score.needs <= allowed and (score.name == own or _is_ours(score))
    )


def _is_ours(score: Score) -> bool:
    """Whether a score comes with clipn."""
    return score.function is not None and score.function.__module__.startswith("clipn.scores.")


class DetectorGraph(nn.Module):
    """A detector as a module that can be traced, with the pure functions of `clipn.scores` in it.

    Everything after the image tower is float64, as in `Detector`; embedding and logits leave it as
    float32.

    Args:
        detector: Its model, classes, score and decision go into the graph.
    """

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.visual = detector.model.visual
        self.bank_yes = nn.Buffer(detector.bank.yes.clone())
        no = detector.bank.no
        self.bank_no = None if no is None else nn.Buffer(no.clone())
        self.tau = detector.model.tau
        self.score_name = detector.score_name
        self.rule: Rule | None = detector.rule
        self.threshold: Threshold | None = (
            detector.threshold if detector.rule == "threshold" else None
        )
        self.scores = simple_scores(has_no=no is not None, own=detector.score_name)
        self.rules = tuple(score for score in self.scores if score.refuses is not None)

    def bank_inputs(self, banks: Banks) -> dict[str, Float[np.ndarray, "classes dim"]]:
        """The detector's own classes, as what a file takes besides images, by name."""
        rows = {"bank_yes": self.bank_yes, "bank_no": self.bank_no}
        if banks == "constant":
            return {}
        return {name: bank.numpy() for name, bank in rows.items() if bank is not None}

    def forward(
        self,
        image: Float[Tensor, "batch 3 height width"],
        bank_yes: Float[Tensor, "classes dim"] | None = None,
        bank_no: Float[Tensor, "classes dim"] | None = None,
    ) -> GraphOutputs:
        """Compute all outputs.

        Args:
            image: Preprocessed images.
            bank_yes: Other classes than the detector's own, L2-normalised.
            bank_no: Their "no".
        """
        return self.judge(F.normalize(self.visual(image).float(), dim=-1), bank_yes, bank_no)

    def judge(
        self,
        embedding: Float[Tensor, "batch dim"],
        bank_yes: Float[Tensor, "classes dim"] | None = None,
        bank_no: Float[Tensor, "classes dim"] | None = None,
    ) -> GraphOutputs:
        """All that follows the image tower; see `forward`."""
        yes = self.bank_yes if bank_yes is None else bank_yes
        no = self.bank_no if bank_no is None else bank_no
        cosines = embedding.double() @ yes.double().T
        values = {"cosines": cosines, "logits_yes": self.tau * cosines, "image": embedding.double()}
        if no is not None:
            values["logits_no"] = self.tau * (embedding.double() @ no.double().T)
        columns = {score.name: _apply(score, values) for score in self.scores}
        refusals = {score.name: _refuse(score, values) for score in self.rules}
        return GraphOutputs(
            embedding=embedding,
            logits_yes=values["logits_yes"].float(),
            logits_no=values["logits_no"].float() if no is not None else None,
            score=columns[self.score_name],
            scores=torch.stack(list(columns.values()), dim=1),
            refusals=torch.stack(list(refusals.values()), dim=1) if refusals else None,
            decision=self._decide(values["logits_yes"], columns[self.score_name], refusals),
        )

    def _decide(
        self,
        logits_yes: Float[Tensor, "batch classes"],
        score: Float[Tensor, " batch"],
        refusals: dict[str, Tensor],
    ) -> Int[Tensor, " batch"] | None:
        """The class or -1, by what decides."""
        if self.rule is None:
            return None
        best = logits_yes.argmax(dim=-1)
        if isinstance(self.threshold, tuple):
            refused = score < score.new_tensor(self.threshold)[best]
        elif self.threshold is not None:
            refused = score < self.threshold
        else:
            refused = refusals[self.rule]
        return torch.where(refused, OOD, best)


def _apply(score: Score, values: dict[str, Tensor]) -> Float[Tensor, " batch"]:
    """A score of the values that its function takes."""
    assert score.function is not None
    arguments = read_arguments(score.name, score.function)
    return score.function(*(values[name] for name in arguments), **score.options)


def _refuse(score: Score, values: dict[str, Tensor]) -> Bool[Tensor, " batch"]:
    """What the decision rule of a score refuses."""
    assert score.refuses is not None
    return score.refuses(values["logits_yes"], values["logits_no"])
