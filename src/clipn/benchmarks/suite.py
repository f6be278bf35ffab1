"""What a benchmark suite is: an ID set, OOD sets, class names, and where to get them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from clipn.benchmarks.layouts import Layout
from clipn.benchmarks.native import NativeForm

__all__ = ["SetKind", "SetSpec", "Suite"]

SetKind = Literal["id", "near", "far", "ood"]
"""ID, or OOD: near to the known classes, far from them, or not told apart by the protocol."""


@dataclass(frozen=True, kw_only=True)
class SetSpec:
    """One set of images of a suite.

    Attributes:
        name: What tables, messages and files call it.
        kind: What it is to the suite; a training set is "id".
        layouts: Where it may lie; the first that is there is read.
        num_images: How many images it has; None where no source fixes that.
        citation: The paper it comes from.
        where: Where to get it, and the layout to bring it into.
        classes: The classes that belong to it, by what the data call them; None takes all.
    """

    name: str
    kind: SetKind
    layouts: tuple[Layout, ...]
    num_images: int | None
    citation: str
    where: str
    classes: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if not self.name or not set(self.name).isdisjoint(r"\/:"):
            raise ValueError(f"A set's name must be fit for a file's name; got {self.name!r}.")
        if not self.layouts:
            raise ValueError(f"The set {self.name} must have at least one layout; got none.")
        if self.num_images is not None and self.num_images < 1:
            raise ValueError(f"The set {self.name} must have images; got {self.num_images}.")


@dataclass(frozen=True, kw_only=True)
class Suite:
    """A benchmark: images of known classes, and sets of images that show none of them.

    A suite of your own is measured as those of `clipn.benchmarks.SUITES` are.

    Attributes:
        name: What commands, tables and result folders call it.
        title: What it is, in a line.
        citation: The paper whose protocol it is.
        id_set: Images of the known classes; labels index `class_names`.
        ood_sets: Images of other things.
        class_names: The known classes, as prompts call them.
        class_ids: What the data call them, in the same order; by default their names.
        templates: Prompt templates; None takes the model's own.
        native: The form that all images are brought to first, so that neither blur nor compression
            tells sets apart; None leaves them as they are.
        training_set: Labelled images of the known classes that are no test images, for scores that
            are fitted.
        task: "ood", or "open": the unknown classes of a domain that is told apart by nothing else.
        notes: What else a reader of its figures must know.

    Raises:
        ValueError: If names repeat, or kinds, classes or `class_ids` do not fit.

    Example:
        >>> from clipn.benchmarks.layouts import Folders
        >>> photos = SetSpec(
        ...     name="photos", kind="id", num_images=None, citation="none", where="my camera",
        ...     layouts=(Folders(folders=("photos",), holds="classes"),),
        ... )
        >>> noise = SetSpec(
        ...     name="noise", kind="far", num_images=100, citation="none", where="make_noise.py",
        ...     layouts=(Folders(folders=("noise",), holds="images"),),
        ... )
        >>> suite = Suite(
        ...     name="mine", title="My photos against noise", citation="none",
        ...     id_set=photos, ood_sets=(noise,), class_names=("tabby cat", "espresso"),
        ... )
        >>> [spec.name for spec in suite.test_sets]
        ['photos', 'noise']
    """

    name: str
    title: str
    citation: str
    id_set: SetSpec
    ood_sets: tuple[SetSpec, ...]
    class_names: tuple[str, ...]
    class_ids: tuple[str, ...] = ()
    templates: tuple[str, ...] | None = None
    native: NativeForm | None = None
    training_set: SetSpec | None = None
    task: Literal["ood", "open"] = "ood"
    notes: str = ""

    def __post_init__(self) -> None:
        if not self.class_ids:
            object.__setattr__(self, "class_ids", self.class_names)
        self._check_unique("class_names", self.class_names)
        self._check_unique("class_ids", self.class_ids)
        self._check_unique("set names", [spec.name for spec in self.all_sets])
        if len(self.class_ids) != len(self.class_names):
            raise ValueError(
                f"The suite {self.name} must have one of class_ids for each of class_names; got "
                f"{len(self.class_ids)} for {len(self.class_names)}."
            )
        if not self.class_names or not self.ood_sets:
            raise ValueError(f"The suite {self.name} must have class_names and ood_sets.")
        for spec in self.all_sets:
            if (spec.kind == "id") == (spec in self.ood_sets):
                raise ValueError(
                    f"The set {spec.name} of the suite {self.name} has the kind {spec.kind!r}: "
                    "id_set and training_set must be 'id', ood_sets 'near', 'far' or 'ood'."
                )
            stray = set(spec.classes or ()) - set(self.class_ids)
            if spec.kind == "id" and stray:
                raise ValueError(
                    f"The set {spec.name} of the suite {self.name} must be of known classes; got "
                    f"{min(stray)!r}, which is not one of class_ids."
                )

    def _check_unique(self, what: str, names: Sequence[str]) -> None:
        seen: set[str] = set()
        for name in names:
            if name.casefold() in seen:
                raise ValueError(
                    f"The {what} of the suite {self.name} must differ; {name!r} occurs twice."
                )
            seen.add(name.casefold())

    @property
    def test_sets(self) -> tuple[SetSpec, ...]:
        """The ID set, then the OOD sets."""
        return (self.id_set, *self.ood_sets)

    @property
    def all_sets(self) -> tuple[SetSpec, ...]:
        """The test sets, then the training set where there is one."""
        return self.test_sets + (() if self.training_set is None else (self.training_set,))
