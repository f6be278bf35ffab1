"""AUROC and FPR as torchmetrics has metrics: exact, and in step over ranks.

torchmetrics' own take scores outside [0, 1] for logits and squash them, after which many are equal;
these never change a score.
"""

from abc import abstractmethod
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from clipn.metrics import auroc, fpr_at_tpr
from clipn.metrics.curve import Positive

__all__ = ["Auroc", "FprAtTpr"]


class _OodMetric(Metric):
    """Keeps all scores, since neither figure is a sum over batches."""

    is_differentiable = False
    full_state_update = False
    scores: list[Tensor] | Tensor
    is_id: list[Tensor] | Tensor

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.add_state("scores", default=[], dist_reduce_fx="cat")
        self.add_state("is_id", default=[], dist_reduce_fx="cat")

    def update(self, scores: Float[Tensor, " batch"], is_id: Bool[Tensor, " flags"]) -> None:
        """Add images.

        Args:
            scores: Higher = more in-distribution.
            is_id: Whether each is of the classes.

        Raises:
            ValueError: If the lengths differ.
        """
        if scores.shape != is_id.shape:
            raise ValueError(
                f"scores and is_id must have one value an image; got {tuple(scores.shape)} and "
                f"{tuple(is_id.shape)}."
            )
        assert isinstance(self.scores, list)
        assert isinstance(self.is_id, list)
        self.scores.append(scores.detach().double())
        self.is_id.append(is_id.detach().bool())

    def compute(self) -> Float[Tensor, ""]:
        """The figure of all images so far, over all ranks.

        Raises:
            ValueError: If there are no ID images, or no others.
        """
        scores, is_id = (dim_zero_cat(one).cpu().numpy() for one in (self.scores, self.is_id))
        return torch.tensor(self._figure(scores[is_id], scores[~is_id]), dtype=torch.float64)

    @abstractmethod
    def _figure(
        self, id_scores: Float[np.ndarray, " num_id"], ood_scores: Float[np.ndarray, " num_ood"]
    ) -> float:
        """The figure."""


class Auroc(_OodMetric):
    """Area under the ROC curve, as `clipn.metrics.auroc` computes it.

    Args:
        options: Those of every torchmetrics metric.

    Example:
        >>> metric = Auroc()
        >>> metric.update(torch.tensor([3.0, 1.0, 2.0]), torch.tensor([True, False, False]))
        >>> metric.compute().item()
        1.0
    """

    higher_is_better = True

    def _figure(self, id_scores: np.ndarray, ood_scores: np.ndarray) -> float:
        return auroc(id_scores, ood_scores)


class FprAtTpr(_OodMetric):
    """FPR at a TPR, FPR95 by default, as `clipn.metrics.fpr_at_tpr` computes it.

    Args:
        tpr: Share of the positive class to find, in (0, 1].
        positive: Which class that is: "id" (CLIPN, MCM) or "ood" (OpenOOD, pytorch-ood).
        options: Those of every torchmetrics metric.

    Example:
        >>> metric = FprAtTpr()
        >>> metric.update(torch.tensor([3.0, 1.0, 4.0]), torch.tensor([True, False, False]))
        >>> metric.compute().item()
        0.5
    """

    higher_is_better = False

    def __init__(self, *, tpr: float = 0.95, positive: Positive = "id", **options: Any) -> None:
        super().__init__(**options)
        self.tpr = tpr
        self.positive: Positive = positive

    def _figure(self, id_scores: np.ndarray, ood_scores: np.ndarray) -> float:
        return fpr_at_tpr(id_scores, ood_scores, tpr=self.tpr, positive=self.positive)
