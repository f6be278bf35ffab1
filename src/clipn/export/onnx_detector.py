"""A detector that runs an exported file: the answers of `Detector` without torch."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float
from PIL import Image
from safetensors import SafetensorError

from clipn.calibration import (
    AnyCalibration,
    calibration_from_json,
    calibration_to_json,
    check_threshold,
    threshold_from_json,
)
from clipn.data.images import Decoding
from clipn.detector_folder import BANKS, read_detector_config
from clipn.errors import ModelError
from clipn.export.metadata import ExportMetadata
from clipn.export.preprocessing import Preprocessing
from clipn.export.runtime import Runtime, Session, open_session
from clipn.image_detector import ImageDetector
from clipn.judgement import Judgement
from clipn.predictions import Rule, Threshold, is_below

__all__ = ["OnnxDetector"]


@dataclass(frozen=True, kw_only=True)
class _Classes:
    """The classes, what decides about them by default, and the inputs that stand for them."""

    names: tuple[str, ...]
    score: str
    rule: Rule | None
    threshold: Threshold | None
    calibration: AnyCalibration | None
    banks: dict[str, Float[np.ndarray, "classes dim"]]


class OnnxDetector(ImageDetector):
    """Answers as `Detector` does, from a file that `clipn export` wrote.

    Neither torch nor open_clip is imported. Any of the file's scores and rules can be asked for; a
    threshold in the file belongs to the file's own score.

    Args:
        path: The file.
        classes: For a file that takes the banks as input: a detector folder of the same model, with
            its score and its decision.
        score: One of `metadata.scores`; by default that of the file or of the folder.
        rule: One of `metadata.rules`, to decide by that rule whatever the score; by default what
            file or folder say, or the rule of another score.
        threshold: Refuse images that score below it; see `clipn.predictions.Threshold`.
        runtime: What runs the file: "onnx" or "openvino".
        num_threads: Threads that run it; all cores by default.
        batch_size: Images embedded at once.
        num_workers: Threads that read images.
        decoding: How JPEG files are decoded (see `clipn.data.images.Decoding`).

    Raises:
        ModelError: If file or folder are missing, damaged, or do not belong together, or the
            runtime is not installed.
        ValueError: If an option is wrong.

    Attributes:
        path: The file.
        classes: The folder that the classes are from; None where the file brings its own.
        runtime: What runs the file.
        metadata: What the file says about itself.
        score_name: Which score is taken.
        rule: What decides; None until a score without a rule of its own is calibrated.
        threshold: Of the rule "threshold".
        calibration: Where the threshold is from, if that is known.
        decoding: How JPEG files are decoded; may be changed at any time.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        classes: str | Path | None = None,
        score: str | None = None,
        rule: Literal["ctw", "atd"] | None = None,
        threshold: Threshold | None = None,
        runtime: Runtime = "onnx",
        num_threads: int | None = None,
        batch_size: int = 64,
        num_workers: int = 2,
        decoding: Decoding = "exact",
    ) -> None:
        self.path, self.classes = Path(path), None if classes is None else Path(classes)
        self.runtime: Runtime = runtime
        self._session: Session = open_session(self.path, runtime=runtime, num_threads=num_threads)
        self.metadata = ExportMetadata.from_json(self._session.metadata, what=str(path))
        self._preprocessing = _read_preprocessing(self.metadata, path=path)
        self._classes = _find_classes(self.metadata, classes, path=path)
        self._set_up(score, rule, threshold)
        self.batch_size, self.num_workers = batch_size, num_workers
        self.decoding: Decoding = decoding

    def _set_up(
        self, score: str | None, rule: Literal["ctw", "atd"] | None, threshold: Threshold | None
    ) -> None:
        """Set what is scored and what decides, or say which option is wrong."""
        rules, default = self.metadata.rules, self._classes
        self.score_name = score or default.score
        self.check_scores([self.score_name])
        if rule is not None and rule not in rules:
            there_are = ", ".join(rules) or 'none, since the model has not learned "no"'
            raise ValueError(f"The file has no rule {rule!r}; it has {there_are}.")
        check_threshold(threshold, num_classes=len(default.names))
        self.rule: Rule | None = "threshold" if threshold is not None else rule
        self.threshold = threshold
        self.calibration: AnyCalibration | None = None
        if self.rule is None and self.score_name == default.score:
            self.rule, self.threshold = default.rule, default.threshold
            self.calibration = default.calibration
        elif self.rule is None and self.score_name in rules:
            self.rule = self.score_name  # pyright: ignore[reportAttributeAccessIssue]

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes, in the order of the logits' columns."""
        return self._classes.names

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of what the image tower sees, in pixels."""
        return self._preprocessing.size

    def preprocess(self, image: Image.Image) -> Float[np.ndarray, "3 height width"]:
        """Normalised pixels of an RGB image."""
        return self._preprocessing(image)

    def run(self, pixels: Float[np.ndarray, "batch 3 height width"]) -> dict[str, np.ndarray]:
        """All outputs of the file for preprocessed images, by name; see `export_detector`."""
        return self._session.run({"image": pixels, **self._classes.banks})

    def judge_pixels(
        self,
        pixels: Float[np.ndarray, "batch 3 height width"],
        *,
        extra_scores: Sequence[str] = (),
        top_k: int = 1,
    ) -> Judgement:
        """Run the file, take its scores and decide; see `ImageDetector.judge_pixels`."""
        return self.judge_outputs(
            self.run(pixels),
            scores=(self.score_name, *extra_scores),
            rule=self.rule,
            threshold=self.threshold,
            top_k=top_k,
        )

    def judge_outputs(
        self,
        outputs: Mapping[str, np.ndarray],
        *,
        scores: Sequence[str],
        rule: Rule | None,
        threshold: Threshold | None,
        top_k: int,
    ) -> Judgement:
        """Take scores, ranked classes and decisions out of the file's outputs.

        Args:
            outputs: From `run`.
            scores: Which scores; the first one is compared with a threshold.
            rule: What decides; None: nothing does.
            threshold: Of the rule "threshold".
            top_k: How many classes to rank; at most all are.

        Raises:
            ValueError: If the file has no such score.
        """
        self.check_scores(scores)
        metadata, yes, no = self.metadata, outputs["logits_yes"], outputs.get("logits_no")
        taken = {name: outputs["scores"][:, metadata.scores.index(name)] for name in scores}
        best = yes.argmax(axis=-1)
        refused = None
        if rule == "threshold":
            assert threshold is not None
            refused = is_below(taken[scores[0]], best, threshold)
        elif rule is not None:
            refused = outputs["refusals"][:, metadata.rules.index(rule)].astype(bool)
        top = np.argsort(-yes, axis=-1, kind="stable")[:, :top_k]
        return Judgement(
            scores=taken,
            best=best,
            refused=refused,
            top=top,
            top_yes=np.take_along_axis(yes, top, axis=-1).astype(np.float64),
            top_no=None if no is None else np.take_along_axis(no, top, axis=-1).astype(np.float64),
            embeddings=outputs["embedding"],
        )

    def check_scores(self, names: Sequence[str]) -> None:
        """Refuse scores that the file has not; see `ImageDetector.check_scores`."""
        for name in names:
            if name not in self.metadata.scores:
                there_are = ", ".join(self.metadata.scores)
                raise ValueError(f"The file has no score {name!r}; it has {there_are}.")

    def _map_no(self, pixels: np.ndarray, best: int) -> tuple[None, str]:
        """Why there is no map: the file holds no embeddings of parts."""
        return None, (
            "An exported file gives no embeddings of an image's parts; the model or the detector "
            "folder that it was made from does."
        )

    def fingerprint(self) -> str:
        """A short hash of all that an answer depends on, 16 hexadecimal digits."""
        decides = [self.score_name, self.rule, self.threshold, self.decoding, self.runtime]
        decides.append(calibration_to_json(self.conformal_calibration))
        digest = hashlib.sha256(json.dumps([self.class_names, decides]).encode())
        for rows in self._classes.banks.values():
            digest.update(rows.tobytes())
        with self.path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()[:16]


def _read_preprocessing(metadata: ExportMetadata, *, path: str | Path) -> Preprocessing:
    try:
        return Preprocessing.from_config(metadata.preprocess)
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{path} has damaged metadata: {error!r}") from error


def _find_classes(
    metadata: ExportMetadata, folder: str | Path | None, *, path: str | Path
) -> _Classes:
    """The classes of the file, or those of a folder for a file that has none."""
    if metadata.banks == "constant":
        if folder is not None:
            raise ValueError(
                f"{path} brings its own classes; only a file that was exported with banks as input "
                "takes others."
            )
        return _Classes(
            names=metadata.class_names,
            score=metadata.score,
            rule=metadata.rule,
            threshold=metadata.threshold,
            calibration=calibration_from_json(
                metadata.calibration, num_classes=len(metadata.class_names), what=str(path)
            ),
            banks={},
        )
    if folder is None:
        raise ValueError(f"{path} takes its classes as input: name a detector folder with them.")
    return _read_classes(Path(folder), metadata, path=path)


def _read_classes(folder: Path, metadata: ExportMetadata, *, path: str | Path) -> _Classes:
    """The classes of a detector folder."""
    # Imported here because the other files need none of it.
    from safetensors.numpy import load_file

    config = read_detector_config(folder)
    if config.model_fingerprint != metadata.model_fingerprint:
        raise ModelError(f"The detector {folder} was made with another model than {path}.")
    try:
        rows = load_file(folder / BANKS)
        banks = {"bank_yes": rows["yes"]} | ({"bank_no": rows["no"]} if metadata.has_no else {})
    except (OSError, SafetensorError, KeyError) as error:
        raise ModelError(f"{folder / BANKS} cannot be read: {error}") from error
    classes = _Classes(
        names=tuple(config.class_names),
        score=config.score,
        rule=config.rule,  # pyright: ignore[reportArgumentType]
        threshold=threshold_from_json(config.threshold),
        calibration=calibration_from_json(
            config.calibration, num_classes=len(config.class_names), what=str(folder)
        ),
        banks=banks,
    )
    try:
        _check_classes(classes, metadata)
    except (TypeError, ValueError) as error:
        raise ModelError(f"The detector {folder} is damaged: {error}") from error
    return classes


def _check_classes(classes: _Classes, metadata: ExportMetadata) -> None:
    """Raise ValueError or TypeError if names, banks and what decides do not belong together."""
    num_classes = len(classes.names)
    check_threshold(classes.threshold, num_classes=num_classes)
    if classes.rule not in (None, "threshold", *metadata.rules):
        raise ValueError(f"it decides by {classes.rule!r}")
    if classes.rule == "threshold" and classes.threshold is None:
        raise ValueError("it has no threshold")
    for name, rows in classes.banks.items():
        if rows.shape != (num_classes, metadata.embedding_dim):
            raise ValueError(f"{name} of shape {rows.shape} for {num_classes} class names")
