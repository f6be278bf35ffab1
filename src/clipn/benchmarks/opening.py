"""Open the sets of a suite below a data root, and say what is missing, wrong or unreadable."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

from clipn.benchmarks.layout_readers import is_there, read_layout
from clipn.benchmarks.layouts import Folders, Layout
from clipn.benchmarks.suite import SetKind, SetSpec, Suite
from clipn.data.image_sets import ImageSet
from clipn.data.images import ImageSource, read_image
from clipn.errors import DataError

__all__ = ["Counts", "SetCheck", "check_suite", "find_layout", "name_reason", "open_set"]

Counts = Literal["enforce", "report"]
"""What a count or a class that is not the protocol's does: it is an error, or it is let be."""

NUM_SHOWN = 4  # layouts or classes in a message
CHUNK = 1024  # images that are waited for at once


@dataclass(frozen=True, kw_only=True)
class SetCheck:
    """What `check_suite` found of one set.

    Attributes:
        name: Of the set.
        kind: What it is to the suite.
        path: Where it lies, as its layout says; None where it is not there.
        num_found: Its images.
        num_expected: What the protocol has; None where no source fixes that.
        unreadable: The images that cannot be read, each with the reason.
        problem: What is wrong with the set and what to do, as a sentence; None if nothing is.
    """

    name: str
    kind: SetKind | Literal["training"]
    path: str | None
    num_found: int
    num_expected: int | None
    unreadable: tuple[str, ...]
    problem: str | None

    @property
    def is_sound(self) -> bool:
        """Whether the set is what the protocol says and every image that was tried can be read."""
        return self.problem is None and not self.unreadable

    @property
    def is_needed(self) -> bool:
        """Whether nothing can be measured without the set: a training set may be absent."""
        return self.kind != "training" or self.path is not None


@dataclass(frozen=True, kw_only=True)
class _Opened:
    """A set that is there, whatever may be wrong with it."""

    images: ImageSet
    layout: Layout
    problem: str | None


def find_layout(spec: SetSpec, data_root: Path) -> Layout | None:
    """The first layout of a set that is below the data root; None where there is none."""
    return next((layout for layout in spec.layouts if is_there(layout, data_root)), None)


def open_set(
    spec: SetSpec, data_root: str | Path, *, suite: Suite, counts: Counts = "enforce"
) -> ImageSet:
    """Open a set of a suite; its images are read later, one by one.

    Args:
        spec: One of the suite's sets.
        data_root: The folder that the layouts start at.
        suite: Its class names are what the labels index.
        counts: "enforce" refuses a set whose count or classes are not the protocol's; "report"
            takes what is there, for trials on a part of a set.

    Returns:
        The images, in the order of their layout. ID images are labelled by the suite's known
        classes, all others -1.

    Raises:
        DataError: If the set is not there, incomplete, or cannot be read; the message names it and
            says where to get it.
    """
    opened = _open(spec, Path(data_root), suite)
    if opened.problem is not None and counts == "enforce":
        raise DataError(f"{opened.problem} For a trial on what is there: --counts report.")
    return opened.images


def check_suite(
    suite: Suite,
    data_root: str | Path,
    *,
    depth: Literal["counts", "images"] = "images",
    num_workers: int = 2,
    on_images: Callable[[str, int, int], None] | None = None,
) -> tuple[SetCheck, ...]:
    """Look for every set of a suite, count its images and read them all.

    Args:
        suite: Which suite.
        data_root: The folder that the layouts start at.
        depth: "images" decodes every image; "counts" opens none.
        num_workers: Threads that read images.
        on_images: Called with (set name, images read, images in all) while a set is read.

    Returns:
        What was found of each set: the ID set, the OOD sets, then the training set, which only
        scores that are fitted need. Nothing that is wrong with a set is raised.
    """
    return tuple(
        _check_set(spec, Path(data_root), suite, depth, num_workers, on_images)
        for spec in suite.all_sets
    )


def _check_set(
    spec: SetSpec,
    root: Path,
    suite: Suite,
    depth: Literal["counts", "images"],
    num_workers: int,
    on_images: Callable[[str, int, int], None] | None,
) -> SetCheck:
    kind = "training" if spec is suite.training_set else spec.kind
    try:
        opened = _open(spec, root, suite)
    except DataError as error:
        layout = find_layout(spec, root)
        return SetCheck(
            name=spec.name,
            kind=kind,
            path=None if layout is None else str(layout),
            num_found=0,
            num_expected=spec.num_images,
            unreadable=(),
            problem=str(error),
        )
    reads = depth == "images"
    return SetCheck(
        name=spec.name,
        kind=kind,
        path=str(opened.layout),
        num_found=len(opened.images),
        num_expected=spec.num_images,
        unreadable=_find_unreadable(opened.images, num_workers, on_images) if reads else (),
        problem=opened.problem,
    )


def _find_unreadable(
    images: ImageSet, num_workers: int, on_images: Callable[[str, int, int], None] | None
) -> tuple[str, ...]:
    found: list[str] = []
    rows = iter(range(len(images)))
    num_read = 0

    def try_row(row: int) -> str | None:
        """Why an image cannot be read; None if it can."""
        why = _why_unreadable(lambda: images.images[row])
        return None if why is None else name_reason(images.ids[row], why)

    with ThreadPoolExecutor(num_workers, thread_name_prefix="clipn-check") as executor:
        while chunk := list(islice(rows, CHUNK)):
            found += [why for why in executor.map(try_row, chunk) if why is not None]
            num_read += len(chunk)
            if on_images is not None:
                on_images(images.name, num_read, len(images))
    return tuple(found)


def name_reason(image: str, why: str) -> str:
    """Why an image cannot be read, with what its set calls it where the reason does not say so.

    Example:
        >>> name_reason("set.parquet:3", "it is empty"), name_reason("3.jpg", "a/3.jpg is empty")
        ('set.parquet:3: it is empty', 'a/3.jpg is empty')
    """
    return why if image in why else f"{image}: {why}"


def _why_unreadable(fetch: Callable[[], ImageSource]) -> str | None:
    try:
        read_image(fetch())
    except (DataError, TypeError, ValueError) as error:
        return str(error)
    return None


def _open(spec: SetSpec, root: Path, suite: Suite) -> _Opened:
    """Read the first layout that is there, choose and number the classes, and count."""
    what = f"The set {spec.name} of the suite {suite.name}"
    layout = find_layout(spec, root)
    if layout is None:
        shown = "; ".join(str(layout) for layout in spec.layouts[:NUM_SHOWN])
        more = len(spec.layouts) - NUM_SHOWN
        shown += f"; or {more} more" if more > 0 else ""
        raise DataError(f"{what} is not below '{root}'. Looked for: {shown}. {spec.where}")
    try:
        everything = read_layout(layout, root, name=spec.name)
        images, missing = _choose_classes(everything, spec, suite)
    except DataError as error:
        raise DataError(f"{what} cannot be opened: {error} {spec.where}") from error
    problem = None
    if missing:
        more = f" and {len(missing) - NUM_SHOWN} more" if len(missing) > NUM_SHOWN else ""
        problem = f"has no image of {', '.join(missing[:NUM_SHOWN])}{more}"
    elif spec.num_images not in (None, len(images)):
        problem = f"has {_count(len(images))}; the protocol has {spec.num_images:,}"
    elif isinstance(layout, Folders) and layout.total not in (None, len(everything)):
        problem = f"is chosen from {_count(len(everything))}; there should be {layout.total:,}"
    return _Opened(
        images=images,
        layout=layout,
        problem=problem and f"{what}, '{root / layout.paths[0]}', {problem}. {spec.where}",
    )


def _count(number: int) -> str:
    return f"{number:,} image{'' if number == 1 else 's'}"


def _choose_classes(
    images: ImageSet, spec: SetSpec, suite: Suite
) -> tuple[ImageSet, tuple[str, ...]]:
    """The images of the set's classes with the suite's labels, and the classes without images."""
    if spec.kind != "id" and spec.classes is None:
        return images.with_labels([-1] * len(images)), ()
    if images.labels is None:
        raise DataError("its images have no labels.")
    # Copies of a data set differ in capitals.
    names = [name.casefold() for name in images.label_names or suite.class_ids]
    numbers = {name.casefold(): number for number, name in enumerate(suite.class_ids)}
    wanted = {name.casefold(): name for name in spec.classes or suite.class_ids}
    found = [names[label] if 0 <= label < len(names) else None for label in images.labels]
    if spec.classes is None:
        stray = next((row for row, name in enumerate(found) if name not in wanted), None)
        if stray is not None:
            raise DataError(f"'{images.ids[stray]}' is of no known class of the suite.")
    rows = [row for row, name in enumerate(found) if name in wanted]
    if not rows:
        raise DataError(f"it holds no image of {', '.join(list(wanted.values())[:NUM_SHOWN])}.")
    present = set(found)
    missing = tuple(name for key, name in wanted.items() if key not in present)
    chosen = images.select(rows)
    if spec.kind != "id":
        return chosen.with_labels([-1] * len(rows)), missing
    labels = [numbers[name] for name in found if name in wanted and name is not None]
    return chosen.with_labels(labels, suite.class_names), missing
