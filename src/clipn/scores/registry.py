"""Every score by its name, with what it is computed from."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from clipn.scores import baselines, paper

ScoreInput = Literal["logits_yes_no", "logits_yes", "cosines"]


@dataclass(frozen=True, kw_only=True)
class Score:
    """A score that needs nothing but what one forward pass gives.

    Attributes:
        name: What options and tables call it.
        function: Maps its inputs, (batch, classes) each, to (batch,).
        needs: The inputs: both logits, the yes logits, or the raw cosines.
        refuses: The score's own decision rule on the same inputs, where it has one.
    """

    name: str
    function: Callable[..., Tensor]
    needs: ScoreInput
    refuses: Callable[..., Tensor] | None = None

    @property
    def needs_no(self) -> bool:
        """Whether the model must have learned to say "no"."""
        return self.needs == "logits_yes_no"


SCORES = {
    score.name: score
    for score in (
        Score(name="ctw", function=paper.ctw, needs="logits_yes_no", refuses=paper.ctw_refuses),
        Score(name="atd", function=paper.atd, needs="logits_yes_no", refuses=paper.atd_refuses),
        Score(name="msp", function=baselines.msp, needs="logits_yes"),
        Score(name="max_logit", function=baselines.max_logit, needs="logits_yes"),
        Score(name="energy", function=baselines.energy, needs="logits_yes"),
        Score(name="mcm", function=baselines.mcm, needs="cosines"),
    )
}


def get_score(name: str) -> Score:
    """Look a score up.

    Raises:
        ValueError: If there is no score of that name.

    Example:
        >>> get_score("mcm").needs
        'cosines'
    """
    if name not in SCORES:
        raise ValueError(f"Unknown score {name!r}; there are {', '.join(SCORES)}.")
    return SCORES[name]
