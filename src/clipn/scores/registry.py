"""Every score by its name: what it needs, what it is, and how to make it ready for a task."""

import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from torch import Tensor

from clipn.scores.arguments import build_from_arguments, needs_of, read_arguments, read_options
from clipn.scores.inputs import FIELDS_OF_NEED, Need, Scorer, Task, WordRecipe

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True, kw_only=True)
class Score:
    """A score: how well an image fits the classes; higher = more in-distribution.

    Attributes:
        name: What options and tables call it.
        build: Maps a task and all options to a scorer; `prepare` checks before it calls this.
        needs: What it asks for beyond image embeddings, the classes and tau.
        options: Its options with their defaults.
        summary: What it is, in a line.
        source: The paper.
        function: The pure function behind it.
        arguments: The tensors that the function takes, by name and in order, where the score is
            nothing but that function; None where it is fitted, differentiates or remembers.
        refuses: Its own decision rule, where it has one: maps logits_yes and logits_no to whether
            each image is refused.
        words: How the words are mined that the need "words" stands for.
    """

    name: str
    build: Callable[..., Scorer]
    needs: frozenset[Need] = frozenset()
    options: Mapping[str, int | float | str] = field(default_factory=dict)
    summary: str = ""
    source: str = ""
    function: Callable[..., Any] | None = None
    arguments: tuple[str, ...] | None = None
    refuses: Callable[..., Tensor] | None = None
    words: WordRecipe | None = None

    def prepare(self, task: Task, **options: int | float | str) -> Scorer:
        """Make the score ready for a task, fitting what is to be fitted.

        Args:
            task: Holds all that the score needs.
            options: Any of `options`, the others keep their defaults.

        Returns:
            A function that scores batches of images in float64. Where the order of the images
            matters it remembers those that it has seen; another `prepare` starts anew.

        Raises:
            ValueError: If there is no such option, its value is wrong, or the task lacks something.

        Example:
            >>> import torch
            >>> from clipn.scores import ImageBatch
            >>> bank = torch.eye(2, 3)
            >>> scorer = get_score("max_logit").prepare(Task(yes=bank, tau=100.0))
            >>> scorer(ImageBatch(image=torch.tensor([[0.6, 0.8, 0.0]]))).round().tolist()
            [80.0]
        """
        values = {**self.options, **options}
        for option, value in options.items():
            self._check_option(option, value)
        fields = [name for need in sorted(self.needs) for name in FIELDS_OF_NEED[need]]
        if missing := [name for name in fields if getattr(task, name) is None]:
            raise ValueError(
                f"The score {self.name!r} needs {', '.join(sorted(self.needs))}; the task has no "
                f"{' and no '.join(missing)}."
            )
        return self.build(task, **values)

    def _check_option(self, option: str, value: int | float | str) -> None:
        if option not in self.options:
            allowed = ", ".join(self.options) or "none"
            raise ValueError(
                f"The score {self.name!r} has no option {option!r}; its options: {allowed}."
            )
        default = self.options[option]
        kinds = (int, float) if isinstance(default, float) else type(default)
        if not isinstance(value, kinds) or isinstance(value, bool):
            raise ValueError(
                f"The option {option} of the score {self.name!r} must be "
                f"{_KIND_NAMES[type(default)]} like {default!r}; got {value!r}."
            )


_KIND_NAMES = {int: "a whole number", float: "a number", str: "a text"}

SCORES: dict[str, Score] = {}
"""Every score by its name; those that come with clipn first, in the order of the tables."""


def get_score(name: str) -> Score:
    """Look a score up.

    Raises:
        ValueError: If there is no score of that name.

    Example:
        >>> get_score("atd").needs
        frozenset({'no'})
    """
    if name not in SCORES:
        raise ValueError(f"Unknown score {name!r}; there are {', '.join(SCORES)}.")
    return SCORES[name]


def register(score: Score) -> Score:
    """Add a score to `SCORES`; `register_score` makes one from a function.

    Returns:
        The same score.

    Raises:
        ValueError: If another score has its name. A function that is defined again, as in a
            notebook, takes the place of its former self.
    """
    known = SCORES.get(score.name)
    if known is not None and _origin(known) != _origin(score):
        raise ValueError(f"There is a score {score.name!r} already; take another name.")
    SCORES[score.name] = score
    return score


def _origin(score: Score) -> tuple[str, str]:
    function = score.function or score.build
    return function.__module__, function.__qualname__


def register_score(
    name: str,
    *,
    refuses: Callable[..., Tensor] | None = None,
    words: WordRecipe = "neg_label",
) -> Callable[[Function], Function]:
    """Make a function a score, so that `clipn eval` and `Detector` know it by its name.

    The function's parameters say what it is given, and so what the score needs: `logits_yes`,
    `logits_no`, `logits_negative`, `cosines`, `outlier_cosines`, each (batch, texts),
    `patch_cosines` (batch, patches, classes), and `image` (batch, dim), all float64. It returns one
    number an image, higher = more in-distribution, that no other image of the batch influences.
    Keyword-only parameters with a default are options; the first line of the docstring is the
    summary, its paragraph "Source: ..." the source.

    Args:
        name: What options and tables call it.
        refuses: Its own decision rule on logits_yes and logits_no, if it has one.
        words: How the words of `logits_negative` are mined.

    Returns:
        A decorator that leaves the function as it is.

    Raises:
        ValueError: If another score has the name, or a parameter is none of the above.

    Example:
        >>> @register_score("margin")
        ... def margin(logits_yes, *, rank: int = 2):
        ...     "How far the best class is ahead of another."
        ...     best = logits_yes.topk(rank, dim=-1).values
        ...     return best[:, 0] - best[:, -1]
        >>> get_score("margin").options
        {'rank': 2}
        >>> import torch
        >>> from clipn.scores import ImageBatch
        >>> scorer = get_score("margin").prepare(Task(yes=torch.eye(2), tau=100.0))
        >>> scorer(ImageBatch(image=torch.tensor([[0.6, 0.8]]))).round().tolist()
        [20.0]
        >>> del SCORES["margin"]
    """

    def decorate(function: Function) -> Function:
        """Register the function and leave it as it is."""
        register(make_score(function, name=name, refuses=refuses, words=words))
        return function

    return decorate


def make_score(
    function: Callable[..., Any],
    *,
    name: str | None = None,
    prepare: Callable[..., Scorer] | None = None,
    needs: Collection[Need] = (),
    refuses: Callable[..., Tensor] | None = None,
    words: WordRecipe = "neg_label",
) -> Score:
    """Describe a function as a score, without registering it.

    Args:
        function: As `register_score` asks for, or any function if `prepare` is given.
        name: The function's own by default.
        prepare: For a score that is fitted, differentiates or remembers: maps a task and options
            to a scorer. The options are its keyword-only parameters; if it takes `**options`, those
            of the function.
        needs: What `prepare` takes from the task.
        refuses: The decision rule, if there is one.
        words: How words are mined, if it needs any.

    Raises:
        ValueError: If a parameter of the function is no argument of `register_score`.
    """
    name = name or function.__name__
    arguments = None
    if prepare is None:
        arguments = read_arguments(name, function)
        prepare, needs = build_from_arguments(name, function, arguments), needs_of(arguments)
        options = read_options(name, function)
    else:
        is_passing_on = any(
            p.kind is p.VAR_KEYWORD for p in inspect.signature(prepare).parameters.values()
        )
        options = read_options(name, function if is_passing_on else prepare)
    return Score(
        name=name,
        build=prepare,
        needs=frozenset(needs),
        options=options,
        summary=(inspect.getdoc(function) or "").partition("\n")[0],
        source=_read_source(inspect.getdoc(function) or ""),
        function=function,
        arguments=None if arguments is None else tuple(arguments),
        refuses=refuses,
        words=words if "words" in needs else None,
    )


def _read_source(doc: str) -> str:
    """The paragraph of a docstring that starts with "Source:", on one line."""
    _, _, rest = f"\n{doc}".partition("\nSource:")
    return " ".join(rest.split("\n\n")[0].split())
