"""A detector as pytorch-ood has them: higher = more out-of-distribution."""

from typing import Any

import torch
from jaxtyping import Float
from pytorch_ood.api import DetectorInfo, FeaturesDetector, Paper, Task
from torch import Tensor

from clipn.detector import Detector
from clipn.scores import ImageBatch, get_score
from clipn.scores import Task as ScoreTask

__all__ = ["PytorchOodDetector"]


class PytorchOodDetector(FeaturesDetector):
    """A `clipn.Detector` for pytorch-ood's benchmarks and metrics.

    Give the data sets `detector.preprocess` as their transform.

    Args:
        detector: Its model, classes and score.

    Attributes:
        encoder: The model.
    """

    info = DetectorInfo(
        paper=Paper(
            title="CLIPN for Zero-Shot OOD Detection: Teaching CLIP to Say No",
            venue="ICCV",
            year=2023,
            url="https://arxiv.org/abs/2308.12213",
        ),
        tasks=frozenset({Task.CLASSIFICATION}),
    )

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.encoder = detector.model
        self.score_name = detector.score_name
        self.yes, self.no, self.tau = detector.bank.yes, detector.bank.no, detector.model.tau

    @torch.inference_mode()
    def predict(self, x: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, " batch"]:
        """Outlier scores of preprocessed images, higher = more out-of-distribution."""
        return self.predict_features(self.encoder.encode_image(x))

    @torch.inference_mode()
    def predict_features(self, x: Float[Tensor, "batch dim"]) -> Float[Tensor, " batch"]:
        """Outlier scores of L2-normalised embeddings, higher = more out-of-distribution."""
        no: Any = None if self.no is None else self.no.double()
        task = ScoreTask(yes=self.yes.double(), no=no, tau=self.tau)
        return -get_score(self.score_name).prepare(task)(ImageBatch(image=x.double()))
