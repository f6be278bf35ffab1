"""What functions can be scores: the arguments that they may take, and where these come from."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from clipn.scores.inputs import ImageBatch, Need, Scorer, Task

BLOCK = 1 << 22  # values of a float64 tensor that is made at once: 32 MB


@dataclass(frozen=True, kw_only=True)
class Argument:
    """A tensor that a score takes: images compared with texts.

    Attributes:
        images: Which embeddings of the images.
        texts: The field of the task that they are compared with; None for the embeddings alone.
        unit: Whether cosines are multiplied by tau.
        needs: What a score that takes it needs.
    """

    images: Literal["image", "patches"]
    texts: Literal["yes", "no", "negatives", "outliers"] | None
    unit: Literal["cosine", "logit"]
    needs: frozenset[Need] = frozenset()

    def prepare(
        self, task: Task
    ) -> Callable[[ImageBatch], Float[Tensor, "batch *patches columns"]]:
        """A function that makes the tensor, in float64 and where the task's tensors are.

        A softmax at tau 100 rounds to 1 in float32 long before it does in float64.
        """
        images, yes = self.images, task.yes.double()
        if self.texts is None:
            return lambda batch: getattr(batch, images).to(yes)
        scale = task.tau if self.unit == "logit" else 1.0
        columns = (scale * getattr(task, self.texts).to(yes)).T
        return lambda batch: getattr(batch, images).to(yes) @ columns

    def num_columns(self, task: Task) -> int:
        """Values of an image, or of one of its patches."""
        return task.yes.shape[1] if self.texts is None else len(getattr(task, self.texts))


ARGUMENTS: dict[str, Argument] = {
    "logits_yes": Argument(images="image", texts="yes", unit="logit"),
    "logits_no": Argument(images="image", texts="no", unit="logit", needs=frozenset({"no"})),
    "logits_negative": Argument(
        images="image", texts="negatives", unit="logit", needs=frozenset({"words"})
    ),
    "cosines": Argument(images="image", texts="yes", unit="cosine"),
    "outlier_cosines": Argument(
        images="image", texts="outliers", unit="cosine", needs=frozenset({"outliers"})
    ),
    "patch_cosines": Argument(
        images="patches", texts="yes", unit="cosine", needs=frozenset({"patches"})
    ),
    "image": Argument(images="image", texts=None, unit="cosine"),
}
"""By the name that a score's function gives to its parameter."""


def read_arguments(name: str, function: Callable[..., Any]) -> dict[str, Argument]:
    """The tensors that the function of the score `name` takes, in their order.

    Raises:
        ValueError: If it takes anything else, or an option without a default.
    """
    parameters = inspect.signature(function).parameters.values()
    tensors = [p.name for p in parameters if p.kind is not p.KEYWORD_ONLY]
    if unknown := [tensor for tensor in tensors if tensor not in ARGUMENTS]:
        raise ValueError(
            f"The score {name!r} takes {unknown[0]!r}, which no task gives; a score may take "
            f"{', '.join(ARGUMENTS)}, and keyword-only options."
        )
    for option in parameters:
        if option.kind is option.KEYWORD_ONLY and option.default is option.empty:
            raise ValueError(f"The option {option.name} of the score {name!r} needs a default.")
    return {tensor: ARGUMENTS[tensor] for tensor in tensors}


def read_options(name: str, function: Callable[..., Any]) -> dict[str, int | float | str]:
    """The keyword-only parameters with a default of a function of the score `name`.

    Raises:
        ValueError: If a default is neither a number nor a text.
    """
    parameters = inspect.signature(function).parameters.values()
    options = {
        p.name: p.default
        for p in parameters
        if p.kind is p.KEYWORD_ONLY and p.default is not p.empty
    }
    for option, default in options.items():
        if not isinstance(default, int | float | str) or isinstance(default, bool):
            raise ValueError(
                f"The option {option} of the score {name!r} must have a number or a text as its "
                f"default; got {default!r}."
            )
    return options


def needs_of(arguments: Mapping[str, Argument]) -> frozenset[Need]:
    """All that the arguments need."""
    return frozenset(need for argument in arguments.values() for need in argument.needs)


def build_from_arguments(
    name: str, function: Callable[..., Any], arguments: Mapping[str, Argument]
) -> Callable[..., Scorer]:
    """Turn a function of tensors into one that maps a task and options to a scorer.

    The scorer makes the tensors for some images at a time, so that memory stays bounded.
    """
    has_patches = "patches" in needs_of(arguments)

    def build(task: Task, **options: int | float | str) -> Scorer:
        """Prepare the arguments that depend on the task alone."""
        makers = [argument.prepare(task) for argument in arguments.values()]
        columns = sum(argument.num_columns(task) for argument in arguments.values())

        def score(batch: ImageBatch) -> Float[Tensor, " batch"]:
            """Score images, some at a time."""
            num_parts = 1
            if has_patches:
                if batch.patches is None:
                    raise ValueError(f"The score {name!r} needs patches; the batch has none.")
                num_parts = batch.patches.shape[1]
            rows = max(1, BLOCK // max(1, columns * num_parts))
            parts = batch.split(rows)
            return torch.cat([function(*(make(p) for make in makers), **options) for p in parts])

        return score

    return build
