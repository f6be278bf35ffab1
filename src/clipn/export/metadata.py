"""What an exported file says about itself: one JSON text among the metadata of the ONNX model."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from clipn.calibration import check_threshold, threshold_from_json
from clipn.errors import ModelError
from clipn.predictions import Rule, Threshold

__all__ = ["FORMAT_VERSION", "METADATA_KEY", "Banks", "ExportMetadata", "Precision"]

METADATA_KEY = "clipn"
"""The name of the text among the metadata of the ONNX model."""

FORMAT_VERSION = 1

Banks = Literal["constant", "input"]
"""Where the embedded class names are: within the file, or given to it with the images."""

Precision = Literal["float32", "int8"]
"""What the image tower computes in; int8 stands for 8-bit weights and activations."""


@dataclass(frozen=True, kw_only=True)
class ExportMetadata:
    """All that is needed to answer with an exported file, and to know where it is from.

    Attributes:
        package_version: Of the clipn that wrote it.
        class_names: In the order of the logits' columns; empty where the banks are an input.
        templates: What the banks average over.
        score: The score in the output `score`.
        scores: The columns of the output `scores`.
        rules: The columns of the output `refusals`.
        rule: What decides; None where nothing does yet.
        threshold: Of the rule "threshold"; see `clipn.predictions.Threshold`.
        banks: Where the embedded class names are.
        precision: What the image tower computes in.
        preprocess: open_clip's preprocessing configuration: size, mean, std, interpolation, ...
        tau: What cosines are multiplied by.
        embedding_dim: Length of an embedding.
        has_no: Whether the model has learned "no".
        model: What loads the model, or what it is called where only its folder does.
        model_fingerprint: See `CLIPN.fingerprint`.
        detector_fingerprint: A hash of the model, the banks, the score and what decides.
        calibration: Where the threshold is from (see `clipn.calibration`); None if it was given.
        image_fingerprint: Of the model's image tower, whose embeddings the file gives; None in
            int8, where they are others.
        agreement: In int8: the mean cosine of embeddings to those in float32, over the images that
            it was calibrated with.
    """

    package_version: str
    class_names: tuple[str, ...]
    templates: tuple[str, ...]
    score: str
    scores: tuple[str, ...]
    rules: tuple[str, ...]
    rule: Rule | None
    threshold: Threshold | None
    banks: Banks
    precision: Precision
    preprocess: dict[str, Any]
    tau: float
    embedding_dim: int
    has_no: bool
    model: str
    model_fingerprint: str
    detector_fingerprint: str
    calibration: dict[str, Any] | None = None
    image_fingerprint: str | None = None
    agreement: float | None = None

    def __post_init__(self) -> None:
        if self.score not in self.scores:
            raise ValueError(f"score must be one of {', '.join(self.scores)}; got {self.score!r}.")
        if self.rule not in (None, "threshold", *self.rules):
            raise ValueError(f"rule must be one of {', '.join(self.rules)}; got {self.rule!r}.")
        if self.rule == "threshold" and self.threshold is None:
            raise ValueError('The rule "threshold" needs a threshold; got None.')
        check_threshold(self.threshold, num_classes=len(self.class_names))

    def to_json(self) -> str:
        """The text that the file keeps."""
        return json.dumps({"format_version": FORMAT_VERSION, **asdict(self)}, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str | None, *, what: str) -> "ExportMetadata":
        """Read the text that a file keeps.

        Args:
            text: None where the file has none.
            what: The file, for messages.

        Raises:
            ModelError: If it is missing, damaged or of another format.
        """
        if text is None:
            raise ModelError(
                f"{what} was not written by clipn export: it has no metadata of clipn."
            )
        try:
            values = json.loads(text)
            version = values.pop("format_version", None)
        except (ValueError, AttributeError, TypeError) as error:
            raise ModelError(f"{what} has damaged metadata: {error}") from error
        if version != FORMAT_VERSION:
            raise ModelError(
                f"{what} has format version {version!r}; this clipn reads version {FORMAT_VERSION}."
            )
        try:
            return cls(**_with_tuples(values))
        except (TypeError, ValueError) as error:
            raise ModelError(f"{what} has damaged metadata: {error}") from error


def _with_tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    """JSON's lists as tuples, where a field is or may be one."""
    names = {field.name for field in fields(ExportMetadata) if field.type == tuple[str, ...]}
    read = {name: tuple(value) if name in names else value for name, value in values.items()}
    return {**read, "threshold": threshold_from_json(values.get("threshold"))}
