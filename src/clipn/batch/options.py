"""What may be chosen for a batch run."""

from dataclasses import dataclass
from typing import Literal

from clipn.judgement import Precision

__all__ = ["BatchOptions", "Existing", "InputKind", "KeptEmbeddings"]

InputKind = Literal["images", "tars", "parquet", "embeddings"]
"""What the images lie in: files of their own, tars, Parquet files; or the embeddings that a former
run has kept, which take the place of images."""

KeptEmbeddings = Literal["none", "float16", "float32"]
"""Whether embeddings are kept, and in which numbers."""

Existing = Literal["continue", "replace", "refuse"]
"""Of a run that the output folder holds already: go on with it, start over, or refuse to start."""


@dataclass(frozen=True, kw_only=True)
class BatchOptions:
    """What the rows of a run depend on, the input and the detector aside.

    Raises:
        ValueError: If a number is out of range.
    """

    input_kind: InputKind | None = None
    """What the images lie in; by default what is found there."""

    image_column: str = "image"
    """Of Parquet files: image structs (bytes, path), encoded bytes, or paths."""

    key_column: str | None = None
    """Of Parquet files: what an image is called; by default file and row, "val.parquet:17"."""

    extra_scores: tuple[str, ...] = ()
    """Scores to take besides the detector's own, in columns such as "score_msp"."""

    top_k: int = 5
    """How many of the most likely classes to write."""

    embeddings: KeptEmbeddings = "none"
    """Keep embeddings, so that other classes can be tried later without the images."""

    precision: Precision = "fast"
    """In which numbers kept embeddings are scored; images are always scored exactly."""

    rows_per_partition: int = 4096
    """About how many images are written, and after a kill repeated, at once; tars are never cut,
    Parquet files only between their row groups."""

    batch_size: int = 64
    """Images embedded at once."""

    def __post_init__(self) -> None:
        for name in ("top_k", "rows_per_partition", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1; got {getattr(self, name)}.")
