"""Out-of-distribution scores: small pure functions, higher = more in-distribution."""

from clipn.scores.adaptive import ada_neg
from clipn.scores.baselines import energy, max_logit, mcm, msp
from clipn.scores.catalog import SCORES
from clipn.scores.fitted import LinearProbe, fit_probe, fort, react, react_limit
from clipn.scores.gradients import odin
from clipn.scores.inputs import ImageBatch, Need, Scorer, Task, WordRecipe
from clipn.scores.local import gl_mcm
from clipn.scores.mining import MinedWords, candidate_texts, mine_words
from clipn.scores.negatives import csp, neg_label
from clipn.scores.outliers import eoe
from clipn.scores.paper import atd, atd_refuses, ctw, ctw_refuses
from clipn.scores.registry import Score, get_score, register, register_score
from clipn.scores.words import Lexicon, Word, read_lexicon

__all__ = [
    "SCORES",
    "ImageBatch",
    "Lexicon",
    "LinearProbe",
    "MinedWords",
    "Need",
    "Score",
    "Scorer",
    "Task",
    "Word",
    "WordRecipe",
    "ada_neg",
    "atd",
    "atd_refuses",
    "candidate_texts",
    "csp",
    "ctw",
    "ctw_refuses",
    "energy",
    "eoe",
    "fit_probe",
    "fort",
    "get_score",
    "gl_mcm",
    "max_logit",
    "mcm",
    "mine_words",
    "msp",
    "neg_label",
    "odin",
    "react",
    "react_limit",
    "read_lexicon",
    "register",
    "register_score",
]
