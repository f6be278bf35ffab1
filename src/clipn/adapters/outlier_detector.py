"""An outlier detector as scikit-learn has them, on embeddings of images."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from clipn.model import ClassBank
from clipn.scores import ImageBatch, Task, get_score

__all__ = ["EmbeddingOutlierDetector"]


class EmbeddingOutlierDetector(OutlierMixin, BaseEstimator):
    """Scores embeddings of images against class names, as one step among others of scikit-learn.

    Only directions count: embeddings are divided by their length.

    Args:
        bank: The classes, `model.class_bank(names)`. Without one, the mean direction of the
            embeddings that it is fitted with is the one class.
        score_name: A score that needs nothing but, maybe, the "no" of the bank.
        tau: What a logit is of a cosine; `model.tau`.
        contamination: Share of the embeddings at `fit` that are to be outliers, from 0 to 0.5; 0.05
            keeps 95 % of them.

    Attributes:
        offset_: Scores below it are outliers'.
        n_features_in_: Length of an embedding.

    Example:
        >>> embeddings = np.array([[1.0, 0.1], [1.0, 0.0], [1.0, -0.1]])
        >>> detector = EmbeddingOutlierDetector().fit(embeddings)
        >>> detector.predict([[2.0, 0.0], [0.0, 1.0]]).tolist()
        [1, -1]
    """

    def __init__(
        self,
        bank: ClassBank | None = None,
        *,
        score_name: str = "max_logit",
        tau: float = 100.0,
        contamination: float = 0.05,
    ) -> None:
        self.bank = bank
        self.score_name = score_name
        self.tau = tau
        self.contamination = contamination

    def fit(self, X: Any, y: Any = None) -> "EmbeddingOutlierDetector":  # noqa: N803
        """Find the threshold.

        Args:
            X: Embeddings of ID images, (images, dim).
            y: Not used.

        Raises:
            ValueError: If an option is wrong, or the bank's embeddings have another length.
        """
        if not 0 <= self.contamination <= 0.5:
            raise ValueError(f"contamination must lie in [0, 0.5]; got {self.contamination}.")
        embeddings = _normalise(self._check(X, reset=True))
        if self.bank is None:
            self._yes, self._no = _normalise(embeddings.mean(axis=0, keepdims=True)), None
        else:
            self._yes = _as_rows(self.bank.yes)
            self._no = None if self.bank.no is None else _as_rows(self.bank.no)
        if self._yes.shape[1] != embeddings.shape[1]:
            raise ValueError(
                f"X has embeddings of length {embeddings.shape[1]}, the bank of "
                f"{self._yes.shape[1]}: both must come from one model."
            )
        self.offset_ = float(np.percentile(self._score(embeddings), 100 * self.contamination))
        return self

    def score_samples(self, X: Any) -> Float[np.ndarray, " images"]:  # noqa: N803
        """The scores, higher = more in-distribution.

        Args:
            X: Embeddings, (images, dim).
        """
        check_is_fitted(self)
        return self._score(_normalise(self._check(X, reset=False)))

    def decision_function(self, X: Any) -> Float[np.ndarray, " images"]:  # noqa: N803
        """The scores less the threshold: below 0 for outliers.

        Args:
            X: Embeddings, (images, dim).
        """
        return self.score_samples(X) - self.offset_

    def predict(self, X: Any) -> Int[np.ndarray, " images"]:  # noqa: N803
        """1 for images of the classes, -1 for outliers.

        Args:
            X: Embeddings, (images, dim).
        """
        return np.where(self.decision_function(X) < 0, -1, 1)

    def _check(self, X: Any, *, reset: bool) -> Float[np.ndarray, "images dim"]:  # noqa: N803
        """The embeddings as float64, or scikit-learn's error."""
        checked: Any = validate_data(self, X, dtype=np.float64, reset=reset)
        return checked

    def _score(self, embeddings: Float[np.ndarray, "images dim"]) -> Float[np.ndarray, " images"]:
        no = None if self._no is None else torch.from_numpy(self._no)
        task = Task(yes=torch.from_numpy(self._yes), no=no, tau=self.tau)
        scorer = get_score(self.score_name).prepare(task)
        return scorer(ImageBatch(image=torch.from_numpy(embeddings))).numpy()


def _normalise(rows: Float[np.ndarray, "rows dim"]) -> Float[np.ndarray, "rows dim"]:
    """Rows of length 1; zeros stay as they are."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths > 0, lengths, 1)


def _as_rows(rows: torch.Tensor) -> Float[np.ndarray, "classes dim"]:
    return rows.double().cpu().numpy()
