"""The scores that come with clipn, in the order of the tables."""

from clipn.scores.adaptive import ada_neg, prepare_ada_neg
from clipn.scores.baselines import energy, max_logit, mcm, msp
from clipn.scores.fitted import fort, prepare_fort, prepare_react, react
from clipn.scores.gradients import odin, prepare_odin
from clipn.scores.local import gl_mcm
from clipn.scores.negatives import csp, neg_label
from clipn.scores.outliers import eoe
from clipn.scores.paper import atd, atd_refuses, ctw, ctw_refuses
from clipn.scores.registry import SCORES, make_score, register

__all__ = ["SCORES"]

for score in (
    make_score(ctw, refuses=ctw_refuses),
    make_score(atd, refuses=atd_refuses),
    make_score(msp),
    make_score(max_logit),
    make_score(energy),
    make_score(mcm),
    make_score(odin, prepare=prepare_odin, needs={"gradients"}),
    make_score(react, prepare=prepare_react, needs={"id_images"}),
    make_score(fort, prepare=prepare_fort, needs={"id_images"}),
    make_score(gl_mcm),
    make_score(neg_label),
    make_score(csp, words="csp"),
    make_score(ada_neg, prepare=prepare_ada_neg, needs={"words", "order"}),
    make_score(eoe),
):
    register(score)
