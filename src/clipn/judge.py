"""From image embeddings to scores, ranked classes and decisions."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from clipn.judgement import Judgement, Precision
from clipn.model import ClassBank
from clipn.predictions import Rule, Threshold, is_below
from clipn.scores import ImageBatch, Scorer, Task, get_score

__all__ = ["Judge"]

COMPARISONS = frozenset({"logits_yes", "logits_no", "cosines"})


class Judge:
    """Compares image embeddings with a class bank.

    Args:
        bank: The classes.
        tau: What a logit is of a cosine.
        scores: Names of scores that need nothing but, maybe, the "no"; the first one is compared
            with a threshold.
        precision: See `clipn.judgement.Precision`; a score that is no plain function of logits
            stays exact.

    Raises:
        ValueError: If there is no such score, or the bank lacks what it needs.
    """

    def __init__(
        self,
        bank: ClassBank,
        *,
        tau: float,
        scores: Sequence[str],
        precision: Precision = "exact",
    ) -> None:
        dtype = torch.float64 if precision == "exact" else torch.float32
        self._tau = tau
        self._yes = (tau * bank.yes.double()).to(dtype).T
        self._no = None if bank.no is None else (tau * bank.no.double()).to(dtype).T
        exact = replace(
            bank, yes=bank.yes.double(), no=None if bank.no is None else bank.no.double()
        )
        task = Task(yes=exact.yes, no=exact.no, tau=tau)
        self._scorers = {name: _make_scorer(name, task) for name in scores}

    @torch.inference_mode()
    def __call__(
        self,
        embeddings: Float[Tensor, "batch dim"],
        *,
        rule: Rule | None,
        threshold: Threshold | None = None,
        top_k: int = 1,
    ) -> Judgement:
        """Score, rank and decide.

        Args:
            embeddings: L2-normalised.
            rule: What decides; None: nothing does.
            threshold: Of the rule "threshold": images whose first score is below it are refused.
            top_k: How many classes to rank; at most all are.
        """
        compared = embeddings.to(self._yes)
        yes = compared @ self._yes
        comparisons = {"logits_yes": yes, "cosines": yes / self._tau}
        if self._no is not None:
            comparisons["logits_no"] = compared @ self._no
        scores = {
            name: scorer(comparisons, embeddings).double().cpu().numpy()
            for name, scorer in self._scorers.items()
        }
        best = yes.argmax(dim=-1).cpu().numpy()
        refused = None
        if rule == "threshold":
            assert threshold is not None
            refused = is_below(next(iter(scores.values())), best, threshold)
        elif rule is not None:
            refuses = get_score(rule).refuses
            assert refuses is not None
            refused = refuses(yes, comparisons["logits_no"]).cpu().numpy()
        no = comparisons.get("logits_no")
        top_yes, top = yes.topk(min(top_k, yes.shape[1]), dim=-1)
        return Judgement(
            scores=scores,
            best=best,
            refused=refused,
            top=top.cpu().numpy(),
            top_yes=top_yes.double().cpu().numpy(),
            top_no=None if no is None else no.gather(-1, top).double().cpu().numpy(),
            embeddings=embeddings.detach().float().cpu().numpy(),
        )


def _make_scorer(name: str, task: Task) -> Callable[[Mapping[str, Tensor], Tensor], Tensor]:
    """Score by what images and classes were compared to, where a score is a function of that."""
    score = get_score(name)
    scorer: Scorer = score.prepare(task)
    arguments, function = score.arguments, score.function
    if arguments is None or function is None or not COMPARISONS.issuperset(arguments):
        return lambda _, embeddings: scorer(ImageBatch(image=embeddings))
    return lambda comparisons, _: function(*(comparisons[name] for name in arguments))
