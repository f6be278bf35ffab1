"""Image sets made of torchvision's data sets, or of any that are read like them."""

import hashlib
import operator
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from clipn.data.image_set import ImageSet, LazyImages
from clipn.data.image_set_digests import digest_files, digest_of, spread
from clipn.data.images import read_image
from clipn.errors import DataError

__all__ = ["IndexedImages", "read_torchvision"]

# Under which names torchvision's classes keep what an item's label is.
LABEL_ATTRIBUTES = ("targets", "labels", "_labels", "y")
NUM_SAMPLED_ITEMS = 16


@runtime_checkable
class IndexedImages(Protocol):
    """What is asked of a data set: a length, and pairs of an image and its label."""

    def __len__(self) -> int:
        """How many items there are."""
        ...

    def __getitem__(self, index: int, /) -> Any:
        """An image and the number of its class."""
        ...


def read_torchvision(dataset: IndexedImages, *, name: str | None = None) -> ImageSet:
    """Take a torchvision data set for image classification, or any like it, as an image set.

    Args:
        dataset: Its items are pairs of an image and a label. It should have no transform: images
            are preprocessed later. Labels are taken from its `targets` or `labels`; where it has
            neither, or changes them by a `target_transform`, every item is read once.
        name: What to call the set; by default as the data set's class.

    Returns:
        A set of paths where the data set is a plain folder of images (`ImageFolder`), whose ids
        are the paths below its root; else of what its items hold, with ids such as "CIFAR10[17]".
        Label names are its `classes`, the first synonym of each.

    Raises:
        DataError: If it is empty, an item cannot be read, or a label has no name.
        TypeError: If an item is no pair of an image and a whole number.

    Example:
        >>> import torchvision
        >>> photos = read_torchvision(torchvision.datasets.FakeData(size=3, image_size=(3, 8, 8)))
        >>> photos.ids, photos.images[0].size
        (('FakeData[0]', 'FakeData[1]', 'FakeData[2]'), (8, 8))
    """
    kind = type(dataset).__name__
    labels = _labels_of(dataset)
    label_names = _label_names(dataset)
    paths = _plain_paths(dataset)
    images: Sequence[Any]
    if paths is None:
        ids = tuple(f"{kind}[{row}]" for row in range(len(dataset)))
        images = LazyImages(lambda row: _item(dataset, row)[0], range(len(dataset)))
        contents = _digest_pixels(images)
    else:
        root = Path(dataset.root)  # pyright: ignore[reportAttributeAccessIssue] - it has paths
        ids = tuple(path.relative_to(root).as_posix() for path in paths)
        images, contents = paths, digest_files(ids, paths)
    return ImageSet(
        name=name or kind,
        images=images,
        labels=labels,
        label_names=label_names,
        ids=ids,
        fingerprint=digest_of(kind, ids, contents, labels, label_names),
    )


def _item(dataset: IndexedImages, row: int) -> Any:
    what = f"{type(dataset).__name__}[{row}]"
    try:
        item = dataset[row]
    except OSError as error:
        raise DataError(f"{what} cannot be read: {error}") from error
    if not isinstance(item, tuple | list) or len(item) != 2:
        raise TypeError(f"{what} must be a pair of an image and a label; got {type(item)}.")
    return item


def _labels_of(dataset: IndexedImages) -> tuple[int, ...]:
    if getattr(dataset, "target_transform", None) is None:
        for attribute in LABEL_ATTRIBUTES:
            labels = _whole_numbers(getattr(dataset, attribute, None))
            if labels is not None and len(labels) == len(dataset):
                return labels
    labels = _whole_numbers([_item(dataset, row)[1] for row in range(len(dataset))])
    if labels is None:
        raise TypeError(f"The labels of {type(dataset).__name__} must be whole numbers.")
    return labels


def _whole_numbers(values: Any) -> tuple[int, ...] | None:
    """The values of a list, array or tensor, if they are whole numbers."""
    try:
        return tuple(operator.index(value) for value in values)
    except TypeError:
        return None


def _label_names(dataset: IndexedImages) -> tuple[str, ...]:
    names = getattr(dataset, "classes", None) or getattr(dataset, "categories", None) or ()
    return tuple(name if isinstance(name, str) else str(name[0]) for name in names)


def _plain_paths(dataset: IndexedImages) -> tuple[Path, ...] | None:
    """The files of a data set that does nothing but open them."""
    # Imported here because it takes long.
    from torchvision.datasets import DatasetFolder
    from torchvision.datasets.folder import default_loader

    if not isinstance(dataset, DatasetFolder) or dataset.loader is not default_loader:
        return None
    reads_as_usual = type(dataset).__getitem__ is DatasetFolder.__getitem__
    if dataset.transform is not None or not reads_as_usual:
        return None
    return tuple(Path(path) for path, _ in dataset.samples)


def _digest_pixels(images: Sequence[Any]) -> str:
    """A digest of some images, spread evenly."""
    rows = spread(len(images), NUM_SAMPLED_ITEMS) if images else ()
    return digest_of(tuple(_digest_image(images, row) for row in rows))


def _digest_image(images: Sequence[Any], row: int) -> str:
    try:
        image = read_image(images[row])
    except DataError:
        return ""  # it will be reported when its turn comes
    return hashlib.sha256(repr(image.size).encode() + image.tobytes()).hexdigest()
