"""The engine that is a file from `clipn export`; torch is not imported."""

from collections.abc import Sequence
from typing import get_args

import numpy as np
from jaxtyping import Float

from clipn.calibration import threshold_to_json
from clipn.data.images import min_side_of, read_image
from clipn.export.onnx_detector import OnnxDetector
from clipn.export.runtime import Runtime
from clipn.predictions import Threshold, is_below
from clipn.serving.engine import EngineInfo, Verdicts, as_score
from clipn.serving.schemas import Decider, DetectorClassSet, ScoreName

__all__ = ["OnnxEngine"]


class OnnxEngine:
    """Answers with an exported file, for the classes that it knows.

    Args:
        detector: The file, with its classes.
        name: What to call it.
        runtime: What runs it.

    Raises:
        ValueError: If the service does not know the detector's score.
    """

    def __init__(self, detector: OnnxDetector, *, name: str, runtime: Runtime = "onnx") -> None:
        metadata = detector.metadata
        known = get_args(ScoreName)
        self._detector = detector
        self._min_side = min_side_of(detector.decoding, size=detector.image_size)
        self.info = EngineInfo(
            name=name,
            runtime=runtime,
            has_no=metadata.has_no,
            scores=tuple(as_score(name) for name in metadata.scores if name in known),
            score=as_score(detector.score_name),
            image_size=max(detector.image_size),
            embedding_dim=metadata.embedding_dim,
            tau=metadata.tau,
            class_names=detector.class_names,
        )

    @property
    def class_set(self) -> DetectorClassSet:
        """The classes of the file, with its score and what decides."""
        detector = self._detector
        return DetectorClassSet(
            classes=list(detector.class_names),
            score=self.info.score,
            rule=detector.rule if detector.rule in ("ctw", "atd") else None,
            threshold=threshold_to_json(detector.threshold),
        )

    def read(self, data: bytes, *, max_pixels: int) -> Float[np.ndarray, "3 height width"]:
        """See `Engine.read`."""
        image = read_image(data, min_side=self._min_side, max_pixels=max_pixels)
        return self._detector.preprocess(image)

    def encode(
        self, images: Sequence[Float[np.ndarray, "3 height width"]]
    ) -> Float[np.ndarray, "images features"]:
        """Run the file; see `Engine.encode`.

        Returns:
            Its outputs side by side: logits_yes, logits_no, scores, refusals.
        """
        outputs = self._detector.run(np.stack(images))
        names = ("logits_yes", "logits_no", "scores", "refusals")
        parts = [outputs[name].astype(np.float64) for name in names if name in outputs]
        return np.concatenate(parts, axis=1)

    def embed_classes(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """See `Engine.embed_classes`; they are embedded already."""
        return names

    def judge(
        self,
        features: Float[np.ndarray, "images features"],
        bank: tuple[str, ...],
        *,
        score: ScoreName,
        rule: Decider,
        threshold: Threshold | None,
        top_k: int,
    ) -> Verdicts:
        """See `Engine.judge`."""
        metadata, num_classes = self._detector.metadata, len(bank)
        yes, rest = features[:, :num_classes], features[:, num_classes:]
        no = None
        if metadata.has_no:
            no, rest = rest[:, :num_classes], rest[:, num_classes:]
        num_scores = len(metadata.scores)
        scores, refusals = rest[:, :num_scores], rest[:, num_scores:]
        taken = scores[:, metadata.scores.index(score)]
        if rule == "threshold":
            assert threshold is not None
            refused = is_below(taken, yes.argmax(axis=1), threshold)
        else:
            refused = refusals[:, metadata.rules.index(rule)] > 0
        top = np.argsort(-yes, axis=1, kind="stable")[:, :top_k]
        masses = np.exp(yes - yes.max(axis=1, keepdims=True))
        p_yes = masses / masses.sum(axis=1, keepdims=True)
        return Verdicts(
            scores=taken,
            refused=refused,
            top=top,
            p_yes=np.take_along_axis(p_yes, top, axis=1),
            logits_yes=np.take_along_axis(yes, top, axis=1),
            logits_no=None if no is None else np.take_along_axis(no, top, axis=1),
        )
