"""The engine that is a file from `clipn export`; torch is not imported."""

from collections.abc import Sequence
from typing import get_args

import numpy as np
from jaxtyping import Float

from clipn.calibration import threshold_to_json
from clipn.data.images import min_side_of, read_image
from clipn.export.onnx_detector import OnnxDetector
from clipn.predictions import Threshold
from clipn.serving.engine import EngineInfo, Verdicts, as_score
from clipn.serving.schemas import Decider, DetectorClassSet, ScoreName

__all__ = ["OnnxEngine"]


class OnnxEngine:
    """Answers with an exported file, for the classes that it knows.

    Args:
        detector: The file, with its classes.
        name: What to call it.

    Raises:
        ValueError: If the service does not know the detector's score.
    """

    def __init__(self, detector: OnnxDetector, *, name: str) -> None:
        metadata = detector.metadata
        known = get_args(ScoreName)
        self._detector = detector
        self._min_side = min_side_of(detector.decoding, size=detector.image_size)
        self.info = EngineInfo(
            name=name,
            runtime=detector.runtime,
            has_no=metadata.has_no,
            scores=tuple(as_score(name) for name in metadata.scores if name in known),
            score=as_score(detector.score_name),
            image_size=max(detector.image_size),
            embedding_dim=metadata.embedding_dim,
            tau=metadata.tau,
            class_names=detector.class_names,
        )
        num_classes = len(detector.class_names)
        self._widths = {
            "embedding": metadata.embedding_dim,
            "logits_yes": num_classes,
            **({"logits_no": num_classes} if metadata.has_no else {}),
            "scores": len(metadata.scores),
            **({"refusals": len(metadata.rules)} if metadata.rules else {}),
        }

    @property
    def class_set(self) -> DetectorClassSet:
        """The classes of the file, with its score and what decides."""
        detector = self._detector
        return DetectorClassSet(
            classes=list(detector.class_names),
            score=self.info.score,
            rule=detector.rule if detector.rule in ("ctw", "atd") else None,
            threshold=threshold_to_json(detector.threshold),
            calibration=detector.conformal_calibration,
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
            Its outputs side by side.
        """
        outputs = self._detector.run(np.stack(images))
        return np.concatenate([outputs[name].astype(np.float64) for name in self._widths], axis=1)

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
        ends = np.cumsum(list(self._widths.values()))[:-1]
        parts = np.split(features, ends, axis=1)
        outputs = dict(zip(self._widths, parts, strict=True))
        judged = self._detector.judge_outputs(
            outputs, scores=(score,), rule=rule, threshold=threshold, top_k=top_k
        )
        yes = outputs["logits_yes"]
        total = np.exp(yes - yes.max(axis=1, keepdims=True)).sum(axis=1, keepdims=True)
        p_yes = np.exp(judged.top_yes - judged.top_yes[:, :1]) / total
        return Verdicts.of(judged, score=score, p_yes=p_yes)
