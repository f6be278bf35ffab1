"""The engine that is a model on PyTorch, and answers as `clipn.Detector` does."""

from collections.abc import Sequence
from typing import get_args

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from clipn.calibration import threshold_to_json
from clipn.data.images import Decoding, min_side_of, read_image
from clipn.detector import Detector
from clipn.errors import ModelError
from clipn.judge import Judge
from clipn.model import CLIPN, ClassBank
from clipn.model.clipn import HOW_TO_GET_A_NO
from clipn.predictions import Threshold
from clipn.scores import get_score
from clipn.serving.engine import EngineInfo, Verdicts, as_score
from clipn.serving.schemas import Decider, DetectorClassSet, ScoreName

__all__ = ["TorchEngine", "describe_detector"]


class _Bank:
    """Embedded classes, and a judge for each score that was asked for."""

    def __init__(self, bank: ClassBank, tau: float) -> None:
        self.bank, self._tau = bank, tau
        self._judges: dict[ScoreName, Judge] = {}

    def judge(self, score: ScoreName) -> Judge:
        """Takes a score first, and the energy, which normalises a softmax."""
        if score not in self._judges:
            names = tuple(dict.fromkeys((score, "energy")))
            self._judges[score] = Judge(self.bank, tau=self._tau, scores=names)
        return self._judges[score]


class TorchEngine:
    """Answers with a model, for any classes.

    Args:
        model: A CLIP, with or without its "no".
        name: What to call it.
        score: The score of requests that name none; by default "atd", or "msp" for a plain CLIP.
        templates: Prompt templates; the model's own by default.
        bank: Classes that are embedded already, as a detector's are.
        decoding: How JPEG files are decoded (see `clipn.data.images.Decoding`).

    Raises:
        ModelError: If the score needs a "no" that the model has not learned.
    """

    def __init__(
        self,
        model: CLIPN,
        *,
        name: str = "compact",
        score: ScoreName | None = None,
        templates: Sequence[str] | None = None,
        bank: ClassBank | None = None,
        decoding: Decoding = "exact",
    ) -> None:
        scores = tuple(
            score
            for score in get_args(ScoreName)
            if model.has_no or "no" not in get_score(score).needs
        )
        size = int(np.max(model.source.preprocess["size"]))
        self._model, self._templates, self._bank = model, templates, bank
        self._min_side = min_side_of(decoding, size=size)
        self.info = EngineInfo(
            name=name,
            runtime="torch",
            has_no=model.has_no,
            scores=scores,
            score=score or ("atd" if model.has_no else "msp"),
            image_size=size,
            embedding_dim=int(model.source.architecture["embed_dim"]),
            tau=model.tau,
        )
        if self.info.score not in scores:
            raise ModelError(f'The score {score} needs a "no". {HOW_TO_GET_A_NO}')

    @classmethod
    def from_detector(cls, detector: Detector, *, name: str) -> "TorchEngine":
        """An engine with the model, the classes, the templates and the score of a detector.

        Args:
            detector: Its own decision is what `describe_detector` makes of it.
            name: What to call it.
        """
        model, templates = detector.model, detector.bank.templates
        return cls(
            model,
            name=name,
            score=as_score(detector.score_name),
            # The hand-crafted variant pairs them with negated ones, which a detector does not keep.
            templates=None if model.variant == "handcrafted" else templates,
            bank=detector.bank,
            decoding=detector.decoding,
        )

    def read(self, data: bytes, *, max_pixels: int) -> Float[Tensor, "3 height width"]:
        """See `Engine.read`."""
        image = read_image(data, min_side=self._min_side, max_pixels=max_pixels)
        return self._model.preprocess(image)

    @torch.inference_mode()
    def encode(
        self, images: Sequence[Float[Tensor, "3 height width"]]
    ) -> Float[np.ndarray, "images dim"]:
        """See `Engine.encode`."""
        return self._model.encode_image(torch.stack(list(images))).cpu().numpy()

    def embed_classes(self, names: tuple[str, ...]) -> _Bank:
        """See `Engine.embed_classes`."""
        bank = self._bank
        if bank is None or bank.names != names:
            # Not by way of the cache on disk: strangers would fill it.
            bank = self._model.class_bank(names, templates=self._templates)
        return _Bank(bank, self._model.tau)

    def judge(
        self,
        features: Float[np.ndarray, "images dim"],
        bank: _Bank,
        *,
        score: ScoreName,
        rule: Decider,
        threshold: Threshold | None,
        top_k: int,
    ) -> Verdicts:
        """See `Engine.judge`."""
        embeddings = torch.from_numpy(features).to(self._model.device)
        judged = bank.judge(score)(embeddings, rule=rule, threshold=threshold, top_k=top_k)
        # softmax(l)_c = exp(l_c - log sum exp(l)); rounding may lead beyond 1
        p_yes = np.exp(judged.top_yes - judged.scores["energy"][:, None]).clip(0, 1)
        return Verdicts.of(judged, score=score, p_yes=p_yes)


def describe_detector(detector: Detector) -> DetectorClassSet:
    """The classes of a detector as a class set, with its score and what decides.

    Raises:
        ValueError: If the service does not know its score.
    """
    return DetectorClassSet(
        classes=list(detector.class_names),
        score=as_score(detector.score_name),
        rule=detector.rule if detector.rule in ("ctw", "atd") else None,
        threshold=threshold_to_json(detector.threshold),
        calibration=detector.conformal_calibration,
    )
