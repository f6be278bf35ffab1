"""A postprocessor as OpenOOD has them, and the classifier that goes with it."""

import importlib.util
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from tqdm import tqdm

from clipn.detector import Detector
from clipn.scores import SCORES

if TYPE_CHECKING or importlib.util.find_spec("openood") is None:
    Base: type = object
else:
    from openood.postprocessors import BasePostprocessor as Base

__all__ = ["OpenOodNet", "OpenOodPostprocessor"]


class OpenOodNet(nn.Module):
    """The classifier: logits of the classes, from which OpenOOD takes the accuracy.

    Args:
        detector: Its model and classes.
    """

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.model, self._yes = detector.model, nn.Buffer(detector.bank.yes.clone())

    def forward(
        self, data: Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, "batch classes"]:
        """The logits, tau times the cosines."""
        return self.model.tau * self.model.encode_image(data) @ self._yes.T


class OpenOodPostprocessor(Base):
    """A `clipn.Detector` for OpenOOD's evaluator; where OpenOOD is installed, one of its own kind.

    OpenOOD must preprocess as the model expects, and be given a network for the accuracy:

        Evaluator(net=OpenOodNet(detector), id_name="imagenet", preprocessor=detector.preprocess,
                  postprocessor=OpenOodPostprocessor(detector))

    Args:
        detector: Its model, classes and score.
        search: Choose, on OpenOOD's validation sets, the score with the highest AUROC.

    Attributes:
        APS_mode: Whether OpenOOD is to search.
        hyperparam_search_done: Whether it has.
        args_dict: What it may choose from, by name.
    """

    def __init__(self, detector: Detector, *, search: bool = False) -> None:
        self.config, self.detector = None, detector
        self.APS_mode, self.hyperparam_search_done = search, False
        allowed = {"no"} if detector.bank.no is not None else set()
        names = [name for name, score in SCORES.items() if score.needs <= allowed]
        self.args_dict: Mapping[str, list[Any]] = {"score": names}
        self.set_hyperparam([detector.score_name])

    def setup(self, net: nn.Module, id_loader_dict: Any, ood_loader_dict: Any) -> None:
        """Nothing is fitted: class names are all that a detector needs."""

    def set_hyperparam(self, hyperparam: list[str]) -> None:
        """Take another score.

        Args:
            hyperparam: Its name, the only one in the list.
        """
        [self._score_name] = hyperparam
        self._judge = self.detector.judge([self._score_name])

    def get_hyperparam(self) -> list[str]:
        """The name of the score, the only one in the list."""
        return [self._score_name]

    @torch.inference_mode()
    def postprocess(
        self, net: nn.Module, data: Float[Tensor, "batch 3 height width"]
    ) -> tuple[Int[Tensor, " batch"], Float[Tensor, " batch"]]:
        """The best classes, and the scores, higher = more in-distribution.

        Args:
            net: Not used; the detector has its model.
            data: Preprocessed images.
        """
        judged = self._judge(self.detector.model.encode_image(data), rule=None)
        return torch.from_numpy(judged.best), torch.from_numpy(judged.scores[self._score_name])

    def inference(
        self, net: nn.Module, data_loader: Iterable[Mapping[str, Any]], progress: bool = True
    ) -> tuple[Int[np.ndarray, " n"], Float[np.ndarray, " n"], Int[np.ndarray, " n"]]:
        """Best classes, scores and labels of a whole set.

        Args:
            net: Not used.
            data_loader: Batches with "data" and "label".
            progress: Whether to show how far it is.
        """
        parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        for batch in tqdm(data_loader, disable=not progress):
            best, scores = self.postprocess(net, batch["data"])
            parts.append((best.numpy(), scores.numpy(), np.asarray(batch["label"], dtype=int)))
        if not parts:
            return np.zeros(0, int), np.zeros(0), np.zeros(0, int)
        best, scores, labels = (np.concatenate(part) for part in zip(*parts, strict=True))
        return best, scores, labels
