"""CLIPN's two losses and one of our own, as functions of embeddings.

None needs memory that grows with the square of the number of pairs.

Source: Wang et al., "CLIPN for Zero-Shot OOD Detection: Teaching CLIP to Say No", ICCV 2023,
    section 3.3.
"""

from clipn.losses.matching import PairKeys, match_pairs
from clipn.losses.ranking import ranking
from clipn.losses.terms import (
    TSO_EPSILON,
    ClipnLoss,
    ItboLoss,
    LossPart,
    clipn_loss,
    itbo,
    tso,
)

__all__ = [
    "TSO_EPSILON",
    "ClipnLoss",
    "ItboLoss",
    "LossPart",
    "PairKeys",
    "clipn_loss",
    "itbo",
    "match_pairs",
    "ranking",
    "tso",
]
