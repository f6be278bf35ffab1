"""From a suite's layouts on disk to image sets."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate
from pathlib import Path

from clipn.benchmarks.layouts import (
    DevkitImages,
    Folders,
    Layout,
    ListFile,
    ParquetFile,
    TarFiles,
    TorchvisionSet,
)
from clipn.data.image_set import LazyImages
from clipn.data.image_set_digests import digest_of
from clipn.data.image_sets import (
    ImageSet,
    read_folder,
    read_list_file,
    read_parquet,
    read_tars,
    read_torchvision,
)
from clipn.data.images import ImageSource
from clipn.errors import DataError

__all__ = ["is_there", "join_sets", "read_layout"]

NUM_DEVKIT_CLASSES = 1000  # the kit numbers ImageNet's inner nodes too, from 1001


def is_there(layout: Layout, root: Path) -> bool:
    """Whether a set lies below the data root in this layout."""
    if not all((root / path).exists() for path in layout.paths):
        return False
    if isinstance(layout, Folders) and layout.holds == "classes":
        # Otherwise a folder of ImageNet's flat validation images would be taken for class folders.
        return all(_has_folders(root / folder) for folder in layout.folders)
    return True


def _has_folders(folder: Path) -> bool:
    return folder.is_dir() and any(
        entry.is_dir() and not entry.name.startswith(".") for entry in folder.iterdir()
    )


def read_layout(layout: Layout, root: Path, *, name: str) -> ImageSet:
    """Read a set in a layout that is there, with the labels and label names that it has.

    Args:
        layout: Where and how the set lies.
        root: The data root.
        name: What to call the set.

    Returns:
        All of the layout's images; no classes are chosen.

    Raises:
        DataError: If the set cannot be read.
    """
    match layout:
        case Folders():
            kind = "labelled" if layout.holds == "classes" else "flat"
            parts = [read_folder(root / folder, layout=kind) for folder in layout.folders]
            return join_sets(parts, prefixes=layout.folders, name=name)
        case ListFile():
            return read_list_file(
                root / layout.list_file,
                root / layout.image_root,
                name=name,
                label_names=layout.label_names,
            )
        case ParquetFile():
            return _read_parquet(layout, root, name)
        case TarFiles():
            return read_tars([root / tar for tar in layout.tars], name=name, labels=layout.labels)
        case TorchvisionSet():
            return _read_torchvision(layout, root, name)
        case DevkitImages():
            return _read_devkit(layout, root, name)
    raise TypeError(f"The layout of the set {name} is of no known kind: {layout!r}.")


def _read_parquet(layout: ParquetFile, root: Path, name: str) -> ImageSet:
    column, values = layout.where or (None, ())
    parts = [
        read_parquet(
            root / layout.file,
            image_column=layout.image_column,
            label_column=layout.label_column,
            where={} if column is None else {column: value},
        )
        for value in values or (None,)
    ]
    return join_sets(parts, prefixes=("",) * len(parts), name=name)


def _read_torchvision(layout: TorchvisionSet, root: Path, name: str) -> ImageSet:
    # Imported here because it takes long.
    import torchvision

    make = getattr(torchvision.datasets, layout.dataset)
    try:
        dataset = make(root=str(root / layout.root), download=False, **layout.options)
    except (RuntimeError, OSError) as error:
        raise DataError(
            f"torchvision's {layout.dataset} cannot be read from '{root / layout.root}': {error}"
        ) from error
    return read_torchvision(dataset, name=name)


def _read_devkit(layout: DevkitImages, root: Path, name: str) -> ImageSet:
    images = read_folder(root / layout.folder, name=name, layout="flat")
    wnids = _read_synsets(root / layout.synsets)
    truth = _read_numbers(root / layout.ground_truth)
    label_names = sorted(wnids.values())
    labels = []
    for image in images.ids:
        digits = Path(image).stem.rpartition("_")[2]
        number = int(digits) if digits.isdecimal() else 0
        if not 1 <= number <= len(truth) or truth[number - 1] not in wnids:
            raise DataError(
                f"'{image}' in '{root / layout.folder}' has no class in "
                f"'{root / layout.ground_truth}': images must be called "
                f"ILSVRC2012_val_00000001.JPEG to {len(truth):08d}."
            )
        labels.append(label_names.index(wnids[truth[number - 1]]))
    return images.with_labels(labels, label_names)


def _read_numbers(path: Path) -> list[int]:
    try:
        return [int(line) for line in path.read_text("utf-8").split()]
    except (OSError, ValueError) as error:
        raise DataError(f"'{path}' must hold a whole number a line: {error}.") from error


def _read_synsets(path: Path) -> dict[int, str]:
    """The development kit's numbers of classes, mapped to WordNet ids."""
    try:
        from scipy.io import loadmat
        from scipy.io.matlab import MatReadError
    except ModuleNotFoundError as error:
        raise DataError(
            f"'{path}' is a MATLAB file, which takes SciPy to read: pip install scipy, or sort the "
            "images into folders by class."
        ) from error
    try:
        synsets = loadmat(path, squeeze_me=True)["synsets"]
        pairs = zip(synsets["ILSVRC2012_ID"], synsets["WNID"], strict=True)
        return {int(number): str(wnid) for number, wnid in pairs if number <= NUM_DEVKIT_CLASSES}
    except (KeyError, MatReadError, OSError, TypeError, ValueError) as error:
        raise DataError(
            f"'{path}' is not the development kit's list of classes: {error}"
        ) from error


def join_sets(sets: Sequence[ImageSet], *, prefixes: Sequence[str], name: str) -> ImageSet:
    """Several sets as one, in their order.

    Args:
        sets: One or more, all with labels or all without.
        prefixes: What the ids of each begin with where there are several.
        name: What to call the whole.

    Returns:
        A set whose classes are those of all parts, numbered by sorted name. A single set keeps
        its labels.
    """
    if len(sets) == 1:
        return replace(sets[0], name=name)
    label_names = tuple(sorted({label for part in sets for label in part.label_names}))
    if label_names:
        sets = [part.relabel(label_names) for part in sets]
    ends = list(accumulate(len(part) for part in sets))

    def fetch(row: int) -> ImageSource:
        """The image of a row of all parts."""
        number = bisect_right(ends, row)
        return sets[number].images[row - (ends[number] - len(sets[number]))]

    ids = (
        f"{prefix}/{image}" if prefix else image
        for prefix, part in zip(prefixes, sets, strict=True)
        for image in part.ids
    )
    labels = [label for part in sets for label in part.labels or ()]
    return ImageSet(
        name=name,
        images=LazyImages(fetch, range(ends[-1])),
        labels=tuple(labels) or None,
        label_names=label_names,
        ids=tuple(ids),
        fingerprint=digest_of(*(part.fingerprint for part in sets)),
    )
