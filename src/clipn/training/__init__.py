"""Teaching a CLIP to say "no"."""

from clipn.training.config import PairsConfig, TrainConfig
from clipn.training.loop import StepRecord, train

__all__ = ["PairsConfig", "StepRecord", "TrainConfig", "train"]
