"""The rows of the output: answers as Arrow tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from jaxtyping import Float

from clipn.batch.options import KeptEmbeddings
from clipn.judgement import Judgement
from clipn.predictions import NONE_OF_THESE

__all__ = ["RowFormat"]


@dataclass(frozen=True, kw_only=True)
class RowFormat:
    """How answers become rows.

    Columns: image, label, score, is_ood, best_class, top_k (a list of class, logit_yes, logit_no),
    error, p_value (empty unless a conformal calibration decides), one `score_NAME` for each extra
    score, model_fingerprint, detector_fingerprint and, if they are kept, embedding. A row with an
    error is empty but for image, error and fingerprints.
    """

    class_names: tuple[str, ...]
    """The detector's classes."""

    score_name: str
    """The detector's score, which goes to the column "score"."""

    extra_scores: tuple[str, ...]
    """The other scores."""

    embeddings: KeptEmbeddings
    """Whether embeddings are kept, and in which numbers."""

    dim: int
    """Width of an embedding."""

    model_fingerprint: str
    """Of the model."""

    detector_fingerprint: str
    """Of the detector."""

    @property
    def schema(self) -> pa.Schema:
        """The columns with their types."""
        ranked = [("class", pa.string()), ("logit_yes", pa.float64()), ("logit_no", pa.float64())]
        columns = [
            ("image", pa.string()),
            ("label", pa.string()),
            ("score", pa.float64()),
            ("is_ood", pa.bool_()),
            ("best_class", pa.string()),
            ("top_k", pa.list_(pa.struct(ranked))),
            ("error", pa.string()),
            ("p_value", pa.float64()),
            *((f"score_{name}", pa.float64()) for name in self.extra_scores),
            ("model_fingerprint", pa.string()),
            ("detector_fingerprint", pa.string()),
        ]
        if self.embeddings != "none":
            number = pa.float16() if self.embeddings == "float16" else pa.float32()
            columns.append(("embedding", pa.list_(number, self.dim)))
        return pa.schema(columns)

    def make_table(
        self,
        images: Sequence[str],
        errors: Mapping[int, str],
        judgement: Judgement | None,
        p_values: Float[np.ndarray, " readable"] | None = None,
    ) -> pa.Table:
        """The rows of some images.

        Args:
            images: What they are called.
            errors: Why an image could not be read, by its position among them.
            judgement: What is said of the others, in their order; None where there are none.
            p_values: Of the others; None where there are none.
        """
        num = len(images)
        columns = {
            "image": pa.array(images, pa.string()),
            "error": pa.array([errors.get(row) for row in range(num)], pa.string()),
            "model_fingerprint": pa.repeat(self.model_fingerprint, num),
            "detector_fingerprint": pa.repeat(self.detector_fingerprint, num),
        }
        if judgement is not None:
            columns |= _spread(self._answer_columns(judgement, p_values), errors, num)
        empty = {field.name: pa.nulls(num, field.type) for field in self.schema}
        return pa.table({**empty, **columns}, schema=self.schema)

    def _answer_columns(
        self, judgement: Judgement, p_values: Float[np.ndarray, " readable"] | None
    ) -> dict[str, pa.Array]:
        """The columns of readable images."""
        names = pa.array([*self.class_names, NONE_OF_THESE], pa.string())
        refused = judgement.refused
        assert refused is not None, "a run starts only when something decides"
        labels = np.where(refused, len(self.class_names), judgement.best)
        num, top_k = judgement.top.shape
        no = judgement.top_no
        ranked = {
            "class": names.take(pa.array(judgement.top.ravel())),
            "logit_yes": pa.array(judgement.top_yes.ravel()),
            "logit_no": pa.nulls(num * top_k, pa.float64()) if no is None else pa.array(no.ravel()),
        }
        ends = pa.array(np.arange(0, num * top_k + 1, top_k, dtype=np.int32))
        top = pa.StructArray.from_arrays(list(ranked.values()), names=list(ranked))
        columns = {
            "label": names.take(pa.array(labels)),
            "score": pa.array(judgement.scores[self.score_name]),
            "is_ood": pa.array(refused),
            "best_class": names.take(pa.array(judgement.best)),
            "top_k": pa.ListArray.from_arrays(ends, top),
            "p_value": pa.nulls(num, pa.float64()) if p_values is None else pa.array(p_values),
            **{f"score_{name}": pa.array(judgement.scores[name]) for name in self.extra_scores},
        }
        if self.embeddings != "none":
            values = pa.array(judgement.embeddings.astype(self.embeddings).ravel())
            columns["embedding"] = pa.FixedSizeListArray.from_arrays(values, self.dim)
        return columns


def _spread(
    columns: Mapping[str, pa.Array], errors: Mapping[int, str], num: int
) -> Mapping[str, pa.Array]:
    """Put the rows of readable images to their places among all."""
    if not errors:
        return columns
    readable = iter(range(num))
    places = pa.array([None if row in errors else next(readable) for row in range(num)], pa.int64())
    return {name: column.take(places) for name, column in columns.items()}
