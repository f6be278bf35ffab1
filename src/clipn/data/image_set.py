"""What a set of images is: labelled handles on images that nobody has decoded yet."""

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, overload

from clipn.data.image_set_digests import digest_of
from clipn.data.images import ImageSource
from clipn.errors import DataError

__all__ = ["ImageSet", "LazyImages"]

NUM_NAMES_IN_MESSAGES = 12


@dataclass(frozen=True, kw_only=True)
class ImageSet:
    """Images of a data set with their labels; an image is read when it is asked for.

    Raises:
        DataError: If the set is empty, or its parts do not belong together.

    Example:
        >>> photos = ImageSet(
        ...     name="photos", images=(b"...", b"..."), labels=(0, -1), label_names=("cat",),
        ...     ids=("a.jpg", "b.jpg"), fingerprint="0123456789abcdef",
        ... )
        >>> photos.only_classes(["cat"]).ids
        ('a.jpg',)
    """

    name: str
    """What tables and messages call the set."""

    # Any for ImageSource: types that are checked at run time would have images read for it.
    images: Sequence[Any]
    """What `clipn.data.images.read_image` takes, one by one; fetching one may raise DataError."""

    labels: tuple[int, ...] | None
    """The class of each image, an index into `label_names`; -1 is OOD. None: there are none."""

    label_names: tuple[str, ...]
    """The classes' names; empty where they are not known."""

    ids: Sequence[str]
    """What reports call each image, the same on every machine: "cat/1.jpg", "val.parquet:17"."""

    fingerprint: str
    """16 hexadecimal digits of the data as they were read: ids, sizes, labels and a sample of the
    contents. A copy elsewhere has the same ones, and so have the same images under other labels,
    so that what is made of the images alone can be shared."""

    def __post_init__(self) -> None:
        if not len(self.images):
            raise DataError(f"The image set {self.name} is empty: it needs at least one image.")
        for what, values in (("labels", self.labels), ("ids", self.ids)):
            if values is not None and len(values) != len(self.images):
                raise DataError(
                    f"The image set {self.name} has {len(self.images)} images but {len(values)} "
                    f"{what}: there must be one for each image."
                )
        self._check_labels()

    def _check_labels(self) -> None:
        num_names = len(self.label_names)
        for row, label in enumerate(self.labels or ()):
            if label < -1 or (num_names and label >= num_names):
                allowed = f"-1 (OOD) or 0 to {num_names - 1}" if num_names else "-1 (OOD) or more"
                raise DataError(
                    f"The image {self.ids[row]} of the set {self.name} has the label {label}: it "
                    f"must be {allowed}."
                )

    def __len__(self) -> int:
        return len(self.images)

    def select(self, rows: Sequence[int], *, name: str | None = None) -> "ImageSet":
        """Some images of this set, in the order asked for.

        Args:
            rows: Their numbers, from 0.
            name: What to call the selection; by default as this set.

        Returns:
            A set of its own fingerprint; of this set's if all are asked for in their order.

        Raises:
            DataError: If no row is asked for.
            ValueError: If a row is not there.
        """
        chosen = tuple(operator.index(row) for row in rows)  # NumPy's numbers have another repr
        for row in chosen:
            if not 0 <= row < len(self):
                raise ValueError(
                    f"rows must be 0 to {len(self) - 1} for the set {self.name}; got {row}."
                )
        is_whole = chosen == tuple(range(len(self)))
        return replace(
            self,
            name=name or self.name,
            images=LazyImages(self.images.__getitem__, chosen),
            labels=None if self.labels is None else tuple(self.labels[row] for row in chosen),
            ids=tuple(self.ids[row] for row in chosen),
            fingerprint=self.fingerprint if is_whole else digest_of(self.fingerprint, chosen),
        )

    def only_classes(self, classes: Sequence[int | str], *, name: str | None = None) -> "ImageSet":
        """The images of some classes; labels and label names stay as they are.

        Args:
            classes: Labels (-1 is OOD) or names.
            name: What to call the selection; by default as this set.

        Raises:
            DataError: If no image is of these classes, or the set has no labels.
            TypeError: If a single name is given.
            ValueError: If a name is not one of `label_names`.
        """
        if isinstance(classes, str):
            raise TypeError(f"classes must be a sequence of labels or names; got {classes!r}.")
        if self.labels is None:
            raise DataError(f"The image set {self.name} has no labels to choose classes by.")
        wanted: set[int] = set()
        for item in classes:
            wanted |= self._labels_called(item) if isinstance(item, str) else {operator.index(item)}
        rows = [row for row, label in enumerate(self.labels) if label in wanted]
        if not rows:
            raise DataError(f"The image set {self.name} holds no image of {_listed(classes)}.")
        return self.select(rows, name=name)

    def _labels_called(self, name: str) -> set[int]:
        found = {label for label, known in enumerate(self.label_names) if known == name}
        if not found:
            raise ValueError(
                f"The image set {self.name} has no class {name!r}; it has "
                f"{_listed(self.label_names) or 'no names'}."
            )
        return found

    def relabel(self, label_names: Sequence[str]) -> "ImageSet":
        """Number the classes by another list of names; what is not in it becomes OOD, -1.

        Args:
            label_names: The names that labels shall index.

        Raises:
            DataError: If the set has no labels or no names.
        """
        if self.labels is None or not self.label_names:
            raise DataError(f"The image set {self.name} has no named classes to relabel.")
        numbers = {name: number for number, name in enumerate(label_names)}
        moved = [numbers.get(name, -1) for name in self.label_names]
        labels = [-1 if label < 0 else moved[label] for label in self.labels]
        return self.with_labels(labels, label_names)

    def with_labels(
        self, labels: Sequence[int] | None, label_names: Sequence[str] = ()
    ) -> "ImageSet":
        """The same images with other labels, such as those of a ground-truth file.

        Args:
            labels: One for each image, -1 for OOD; None takes them away.
            label_names: What they index, where that is known.

        Returns:
            A set of the same fingerprint.

        Raises:
            DataError: If they do not fit the images or the names.
        """
        given = None if labels is None else tuple(operator.index(label) for label in labels)
        return replace(self, labels=given, label_names=tuple(label_names))


class LazyImages(Sequence[ImageSource]):
    """Images that are fetched one by one.

    Args:
        fetch: Gives the image of a number; called from whatever thread asks.
        rows: The numbers, in the order of the sequence.
    """

    def __init__(self, fetch: Callable[[int], ImageSource], rows: Sequence[int]) -> None:
        self._fetch = fetch
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> ImageSource: ...
    @overload
    def __getitem__(self, index: slice) -> "LazyImages": ...
    def __getitem__(self, index: int | slice) -> "ImageSource | LazyImages":
        if isinstance(index, slice):
            return LazyImages(self._fetch, self._rows[index])
        return self._fetch(self._rows[index])


def _listed(values: Sequence[object]) -> str:
    shown = ", ".join(repr(value) for value in values[:NUM_NAMES_IN_MESSAGES])
    return shown + (", ..." if len(values) > NUM_NAMES_IN_MESSAGES else "")
