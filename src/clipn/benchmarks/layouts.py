"""The ways in which a set of images may lie on disk, as data."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = [
    "DevkitImages",
    "Folders",
    "Layout",
    "ListFile",
    "ParquetFile",
    "TarFiles",
    "TorchvisionSet",
]


@dataclass(frozen=True, kw_only=True)
class Layout(ABC):
    """One way in which a set may lie below the data root."""

    @property
    @abstractmethod
    def paths(self) -> tuple[str, ...]:
        """What must be there, relative to the data root."""


@dataclass(frozen=True, kw_only=True)
class Folders(Layout):
    """Folders of image files.

    Attributes:
        folders: Relative to the data root; their images make one set.
        holds: "classes": each folder right below is a class; "images": there are no labels.
        total: How many images the folders hold before classes are chosen, where only that is known.
    """

    folders: tuple[str, ...]
    holds: Literal["classes", "images"]
    total: int | None = None

    @property
    def paths(self) -> tuple[str, ...]:
        """The folders."""
        return self.folders

    def __str__(self) -> str:
        inner = "<class>/*" if self.holds == "classes" else "*"
        return " + ".join(f"{folder}/{inner}" for folder in self.folders)


@dataclass(frozen=True, kw_only=True)
class ListFile(Layout):
    """A list of image files, one `relative/path label` a line, as OpenOOD publishes them.

    Attributes:
        list_file: Relative to the data root.
        image_root: The folder, relative to the data root, that the list's paths start at.
        label_names: What the labels index; the suite's known classes by default.
    """

    list_file: str
    image_root: str
    label_names: tuple[str, ...] = ()

    @property
    def paths(self) -> tuple[str, ...]:
        """The list and the folder of its images."""
        return (self.list_file, self.image_root)

    def __str__(self) -> str:
        return f"{self.list_file} (a list of images below {self.image_root})"


@dataclass(frozen=True, kw_only=True)
class ParquetFile(Layout):
    """A Parquet file with encoded images, as Hugging Face data sets are published.

    Attributes:
        file: Relative to the data root.
        image_column: Holds the images.
        label_column: Holds the numbers of the classes.
        where: Values that a column must have; the rows of several values make one set.
    """

    file: str
    image_column: str = "image"
    label_column: str = "label"
    where: tuple[str, tuple[str, ...]] | None = None

    @property
    def paths(self) -> tuple[str, ...]:
        """The file."""
        return (self.file,)

    def __str__(self) -> str:
        if self.where is None:
            return self.file
        column, values = self.where
        return f"{self.file} ({column}: {', '.join(values)})"


@dataclass(frozen=True, kw_only=True)
class TarFiles(Layout):
    """Uncompressed tars: webdataset's shards, or packed trees of image files.

    Attributes:
        tars: Tars, or folders of tars, relative to the data root.
        labels: Where labels come from; see `clipn.data.image_sets.read_tars`.
    """

    tars: tuple[str, ...]
    labels: Literal["auto", "cls", "folder", "none"] = "auto"

    @property
    def paths(self) -> tuple[str, ...]:
        """The tars."""
        return self.tars

    def __str__(self) -> str:
        return " + ".join(self.tars)


@dataclass(frozen=True, kw_only=True)
class TorchvisionSet(Layout):
    """What a class of `torchvision.datasets` has downloaded; nothing is downloaded here.

    Attributes:
        dataset: Name of the class.
        holds: What the class leaves on disk, relative to the data root.
        root: The class's own root, relative to the data root.
        options: Further arguments of the class.
    """

    dataset: str
    holds: str
    root: str = "."
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def paths(self) -> tuple[str, ...]:
        """What the class leaves on disk."""
        return (self.holds,)

    def __str__(self) -> str:
        return f"{self.holds} (of torchvision's {self.dataset})"


@dataclass(frozen=True, kw_only=True)
class DevkitImages(Layout):
    """ImageNet's validation images in one folder, with labels from the development kit.

    Attributes:
        folder: Holds ILSVRC2012_val_*.JPEG, relative to the data root.
        devkit: The kit, ILSVRC2012_devkit_t12, relative to the data root.
    """

    folder: str
    devkit: str

    @property
    def ground_truth(self) -> str:
        """The class of every image, by the kit's own numbers."""
        return f"{self.devkit}/data/ILSVRC2012_validation_ground_truth.txt"

    @property
    def synsets(self) -> str:
        """What the kit's numbers mean."""
        return f"{self.devkit}/data/meta.mat"

    @property
    def paths(self) -> tuple[str, ...]:
        """The images, their classes, and what these mean."""
        return (self.folder, self.ground_truth, self.synsets)

    def __str__(self) -> str:
        return f"{self.folder}/*.JPEG with {self.devkit}"
