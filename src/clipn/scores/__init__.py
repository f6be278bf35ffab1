"""Out-of-distribution scores: small pure functions, higher = more in-distribution."""

from clipn.scores.baselines import energy, max_logit, mcm, msp
from clipn.scores.paper import atd, atd_refuses, ctw, ctw_refuses
from clipn.scores.registry import SCORES, Score, get_score

__all__ = [
    "SCORES",
    "Score",
    "atd",
    "atd_refuses",
    "ctw",
    "ctw_refuses",
    "energy",
    "get_score",
    "max_logit",
    "mcm",
    "msp",
]
