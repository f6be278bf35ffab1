"""How to evaluate: what does not name the model, the suite or the scores."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from clipn.benchmarks.opening import Counts
from clipn.scores import Lexicon

Existing = Literal["keep", "replace", "refuse"]
ScoreOptions = Mapping[str, int | float | str]


@dataclass(frozen=True, kw_only=True)
class EvaluationOptions:
    """How to evaluate, the model, the suite and the scores aside.

    Raises:
        ValueError: If a number is out of range.
    """

    existing: Existing = "keep"
    """Of results that are there already: keep those that fit, replace all, or refuse to start."""
    score_options: Mapping[str, ScoreOptions] = field(default_factory=dict)
    """Options by the name of the score, for example {"react": {"percentile": 95}}."""
    templates: Sequence[str] | None = None
    """Prompt templates; the suite's or else the model's own by default."""
    lexicon: Lexicon | None = None
    """Words for neg_label, csp and ada_neg; without it they are not served."""
    outliers: Sequence[str] | None = None
    """Outlier names for eoe; without them it is not served."""
    cache_dir: Path | None = None
    """Where embeddings are kept; `cache` in the output folder by default."""
    counts: Counts = "enforce"
    """A set whose count is not the protocol's is an error ("enforce") or let be ("report")."""
    batch_size: int = 64
    """Images embedded at once."""
    num_workers: int = 2
    """Threads that read images."""
    tpr: float = 0.95
    """Share of ID images that the calibrated threshold keeps."""
    num_resamples: int = 1000
    """Of the bootstrap intervals; 0 leaves them out."""
    seed: int = 0
    """Of the bootstrap, the calibration halves and the order of streams."""
    on_rows: Callable[[str, int, int], None] | None = None
    """Called with (set name, images done, images in all) while a set is embedded."""
    on_score: Callable[[str], None] | None = None
    """Called with the name of each score before it is computed."""

    def __post_init__(self) -> None:
        for name, least in (("batch_size", 1), ("num_workers", 1), ("num_resamples", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}; got {getattr(self, name)}.")
        if not 0 < self.tpr < 1:
            raise ValueError(f"tpr must lie between 0 and 1; got {self.tpr}.")
