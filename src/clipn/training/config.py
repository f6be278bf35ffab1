"""Everything that a teaching run depends on. The defaults are the paper's."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from clipn.losses import LossPart
from clipn.model.clipn import NUM_PROMPTS, Variant
from clipn.model.no_tower import NoStart
from clipn.model.random_view import ViewStrength
from clipn.templates import PAIRED_TEMPLATES, check_templates


@dataclass(frozen=True, kw_only=True)
class PairsConfig:
    """Where the image-caption pairs are and what their columns are called."""

    source: str
    """A .tar, .csv, .tsv or .parquet file, a folder or pattern of them, or a saved data set."""

    format: Literal["auto", "webdataset", "csv", "parquet", "huggingface"] = "auto"
    """Layout of the source."""

    image_column: str = "image"
    """Column of the images: encoded bytes, or paths."""

    caption_column: str = "caption"
    """Column of the captions (webdataset: key of the JSON member, beside .txt)."""

    class_column: str | None = None
    """Column of class numbers; pairs of one class are never pushed apart."""

    name_column: str | None = None
    """Column of class names: captions are then made from names instead of read."""

    synonyms_column: str | None = None
    """Column with a list of other names of the class, used like the name."""

    templates: tuple[str, ...] = PAIRED_TEMPLATES
    """Sentences with one {} that class names are put into."""

    max_bad_share: float = 0.05
    """Share of unusable pairs, and of broken shards, that ends the run."""

    def __post_init__(self) -> None:
        check_templates(self.templates)
        if self.name_column is None and self.synonyms_column is not None:
            raise ValueError("synonyms_column needs name_column; got None.")
        if not 0 <= self.max_bad_share < 1:
            raise ValueError(f"max_bad_share must lie in [0, 1); got {self.max_bad_share}.")


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """A teaching run."""

    pairs: PairsConfig
    """The image-caption pairs."""

    model: str
    """What to teach: ARCHITECTURE/TAG of open_clip, or a model folder without a "no"."""

    out_dir: Path
    """Gets the log, the checkpoints and the taught model; a run started again in it goes on."""

    variant: Variant = "learnable"
    """How "no" is said: by learned prompts, or by negated templates."""

    num_prompts: int = NUM_PROMPTS
    """Size of the prompt pool of the learnable variant; 0 leaves it to the no tower alone."""

    start: NoStart = "same"
    """What "no" is at the start: the caption's own embedding, as published, or its opposite."""

    epochs: int = 10
    """Passes over all pairs."""

    batch_size: int = 2048
    """Pairs a step, over all ranks."""

    lr: float = 3e-4
    """Learning rate at the start; a cosine takes it to zero."""

    warmup_steps: int = 0
    """Steps of a linear start from zero."""

    weight_decay: float = 0.2
    """Of AdamW, on all parameters but gains, biases and others of one dimension."""

    betas: tuple[float, float] = (0.9, 0.98)
    """Of AdamW."""

    eps: float = 1e-6
    """Of AdamW."""

    hardness: float = 0.0
    """How much more an opposite caption counts the more it resembles the image; 0 as published."""

    losses: tuple[LossPart, ...] = ("itbo", "tso")
    """What is minimised; "ranking" is not in the paper."""

    captions: Literal["per_pair", "per_class"] = "per_pair"
    """Whether each pair draws its caption, or all pairs of a class in a batch share one."""

    seed: int = 0
    """Of the order, the captions, the prompts, and which views are seen; runs of several seeds can
    share a cache."""

    num_views: int = 1
    """Views of each image in the cache: 1 is the plain image, more are random ones."""

    views: ViewStrength = "weak"
    """Random views are crops of 90 % of the area and more, as published; or down to 25 %, mirrored,
    with other light and colours."""

    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    """Of the no tower; the losses are always taken in float32."""

    micro_batch_size: int | None = None
    """Texts a rank takes through the no tower at once, for less memory at the price of a second
    forward pass; the loss and its gradients stay those of the whole batch. None takes all."""

    grad_checkpointing: bool = False
    """Whether the no tower's activations are computed again instead of kept, for less memory."""

    accelerator: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to run."""

    cache_dir: Path | None = None
    """Of the embeddings; OUT_DIR/cache by default."""

    cache_dtype: Literal["float16", "float32"] = "float16"
    """Precision of the stored embeddings."""

    num_workers: int = 2
    """Threads that read images while the cache is built."""

    log_every: int = 10
    """Steps between two lines of the log."""

    checkpoint_every: int = 500
    """Steps between two checkpoints."""

    evaluate_every: int = 1
    """Epochs between two calls of the evaluation, where one is passed in."""

    def __post_init__(self) -> None:
        if self.micro_batch_size is not None and self.micro_batch_size < 1:
            raise ValueError(f"micro_batch_size must be at least 1; got {self.micro_batch_size}.")
        positive = ("epochs", "batch_size", "num_views", "log_every", "checkpoint_every")
        for name in (*positive, "evaluate_every", "num_workers"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1; got {getattr(self, name)}.")
        if not self.lr > 0:
            raise ValueError(f"lr must be above 0; got {self.lr}.")
        for name in ("warmup_steps", "weight_decay", "eps", "hardness", "num_prompts", "seed"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must not be negative; got {getattr(self, name)}.")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas must lie in [0, 1); got {self.betas}.")
        if self.views == "strong" and self.num_views == 1:
            raise ValueError(
                "views 'strong' needs num_views of at least 2; 1 is the plain image alone."
            )
        if not self.losses:
            raise ValueError(
                "losses must name at least one of 'itbo', 'tso' and 'ranking'; got none."
            )

    @property
    def embeddings_dir(self) -> Path:
        """Folder of the embedding cache."""
        return self.cache_dir or self.out_dir / "cache"

    def recipe(self) -> dict[str, Any]:
        """What the result depends on, as JSON: all but places, devices, memory and reports."""
        places = ("out_dir", "cache_dir", "accelerator", "num_workers")
        memory = ("micro_batch_size", "grad_checkpointing")
        reports = ("log_every", "checkpoint_every", "evaluate_every")
        settings = {k: v for k, v in asdict(self).items() if k not in (*places, *memory, *reports)}
        settings["pairs"] = {**settings["pairs"], "templates": list(self.pairs.templates)}
        return {**settings, "betas": list(self.betas), "losses": list(self.losses)}

    def identity(self, *, tau: float, data_fingerprint: str) -> dict[str, Any]:
        """What tells a run from another, as JSON: only the same one goes on from a checkpoint.

        Args:
            tau: Temperature of the model that is taught.
            data_fingerprint: Of the pairs, from the cache's manifest.
        """
        return {**self.recipe(), "tau": tau, "data_fingerprint": data_fingerprint}
