"""What stands behind the service: anything that embeds images and compares them with classes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, get_args, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int

from clipn.judgement import Judgement
from clipn.predictions import Threshold
from clipn.serving.schemas import Decider, ScoreName

__all__ = ["Engine", "EngineInfo", "Verdicts", "as_score"]


@dataclass(frozen=True, kw_only=True)
class EngineInfo:
    """What an engine is.

    Attributes:
        name: What the command line called it.
        runtime: What runs it: "torch", "onnx", ...
        has_no: Whether the model has learned "no".
        scores: The scores that it can take.
        score: The score of requests that name none.
        image_size: Pixels a side of what the image tower sees.
        embedding_dim: Length of an embedding.
        tau: What cosines are multiplied by.
        class_names: The only classes that it knows; None if it takes any.
    """

    name: str
    runtime: str
    has_no: bool
    scores: tuple[ScoreName, ...]
    score: ScoreName
    image_size: int
    embedding_dim: int
    tau: float
    class_names: tuple[str, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class Verdicts:
    """What an engine says of several images.

    Attributes:
        scores: Higher = more in-distribution.
        refused: Whether each shows none of the classes.
        top: The likeliest classes of each, best first, as positions among the class names.
        p_yes: softmax(logits_yes) of these, over all classes.
        logits_yes: tau times the cosine with these.
        logits_no: tau times the cosine with the "no" of these; None for a plain CLIP.
    """

    scores: Float[np.ndarray, " images"]
    refused: Bool[np.ndarray, " images"]
    top: Int[np.ndarray, "images top_k"]
    p_yes: Float[np.ndarray, "images top_k"]
    logits_yes: Float[np.ndarray, "images top_k"]
    logits_no: Float[np.ndarray, "images top_k"] | None

    @classmethod
    def of(
        cls, judged: Judgement, *, score: ScoreName, p_yes: Float[np.ndarray, "images top_k"]
    ) -> "Verdicts":
        """What was judged and decided, by one of its scores."""
        assert judged.refused is not None
        return cls(
            scores=judged.scores[score],
            refused=judged.refused,
            top=judged.top,
            p_yes=p_yes,
            logits_yes=judged.top_yes,
            logits_no=judged.top_no,
        )

    def rows(self, first: int, last: int) -> "Verdicts":
        """The images from `first` up to, but without, `last`."""
        part = slice(first, last)
        return Verdicts(
            scores=self.scores[part],
            refused=self.refused[part],
            top=self.top[part],
            p_yes=self.p_yes[part],
            logits_yes=self.logits_yes[part],
            logits_no=None if self.logits_no is None else self.logits_no[part],
        )


@runtime_checkable
class Engine(Protocol):
    """Embeds images and class names, and compares them.

    `read` is called from several threads at once, `encode` and `judge` from one thread,
    `embed_classes` from another one.
    """

    @property
    def info(self) -> EngineInfo:
        """What it is."""
        ...

    def read(self, data: bytes, *, max_pixels: int) -> Any:
        """Decode and preprocess one image.

        Args:
            data: The image file.
            max_pixels: Refuse an image of more, before decoding it.

        Returns:
            What `encode` takes; all of one shape.

        Raises:
            DataError: If it cannot be read.
        """
        ...

    def encode(self, images: Sequence[Any]) -> Float[np.ndarray, "images features"]:
        """Run the image tower.

        Args:
            images: What `read` made of each.

        Returns:
            What `judge` takes, a row an image.
        """
        ...

    def embed_classes(self, names: tuple[str, ...]) -> Any:
        """Embed class names.

        Args:
            names: Checked already; all from `info.class_names` where that is set.

        Returns:
            What `judge` takes as a bank.

        Raises:
            ClipnError: If that cannot be done.
            ValueError: If a name cannot be embedded.
        """
        ...

    def judge(
        self,
        features: Float[np.ndarray, "images features"],
        bank: Any,
        *,
        score: ScoreName,
        rule: Decider,
        threshold: Threshold | None,
        top_k: int,
    ) -> Verdicts:
        """Score images, decide, and rank the classes.

        Args:
            features: From `encode`.
            bank: From `embed_classes`.
            score: One of `info.scores`.
            rule: What decides.
            threshold: Of the rule "threshold": images that score below it are refused.
            top_k: How many classes to tell about; fewer where there are fewer.
        """
        ...


def as_score(name: str) -> ScoreName:
    """A score that the service can take, by its name.

    Raises:
        ValueError: If it takes no such score.

    Example:
        >>> as_score("atd")
        'atd'
    """
    known: tuple[ScoreName, ...] = get_args(ScoreName)
    for score in known:
        if score == name:
            return score
    raise ValueError(f"The service takes the scores {', '.join(known)}; got {name!r}.")
