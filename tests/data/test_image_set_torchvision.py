"""torchvision's own classes, in memory and in folders."""

import pickle
import shutil
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Subset, TensorDataset
from torchvision import datasets, transforms

from clipn.data.image_sets import read_folder, read_torchvision
from clipn.data.images import read_image
from clipn.errors import DataError


class Listed:
    """The least that a data set can be: pairs in a list."""

    def __init__(self, item_labels: list[Any], **attributes: Any) -> None:
        self.items = [
            (Image.new("RGB", (4, 4), (number % 256, 0, 0)), label)
            for number, label in enumerate(item_labels)
        ]
        self.asked: list[int] = []
        self.__dict__.update(attributes)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        self.asked.append(index)
        return self.items[index]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, name in enumerate(("owl/1.png", "cat/1.png", "cat/2.png")):
        path = tmp_path / "pets" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 6), (number, 0, 0)).save(path)
    return tmp_path / "pets"


def test_an_image_folder_becomes_paths(folder: Path):
    images = read_torchvision(datasets.ImageFolder(folder))
    assert images.name == "ImageFolder"
    assert images.images == read_folder(folder).images
    assert images.ids == ("cat/1.png", "cat/2.png", "owl/1.png")
    assert images.labels == (0, 0, 1)
    assert images.label_names == ("cat", "owl")


def test_an_image_folder_with_a_loader_or_transform_is_asked_for_its_items(folder: Path):
    for options in (
        {"loader": lambda path: Image.open(path).resize((2, 2))},
        {"transform": transforms.Resize((2, 2))},
    ):
        images = read_torchvision(datasets.ImageFolder(folder, **options))
        assert images.ids[2] == "ImageFolder[2]"
        assert images.images[2].size == (2, 2)
        assert images.labels == (0, 0, 1)


def test_an_image_folder_with_items_of_its_own_is_asked_for_them(folder: Path):
    class Small(datasets.ImageFolder):
        def __getitem__(self, index: int) -> Any:
            image, label = super().__getitem__(index)
            return image.resize((2, 2)), label

    assert read_torchvision(Small(folder)).images[0].size == (2, 2)


def test_cifar10_is_read_from_its_own_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    root = tmp_path / "cifar-10-batches-py"
    root.mkdir()
    pixels = np.arange(4 * 3072, dtype=np.uint32).astype(np.uint8).reshape(4, 3072)
    (root / "test_batch").write_bytes(pickle.dumps({"data": pixels, "labels": [3, 0, 9, 3]}))
    names = [f"class {number}" for number in range(10)]
    (root / "batches.meta").write_bytes(pickle.dumps({"label_names": names}))
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *arguments: True)
    images = read_torchvision(datasets.CIFAR10(tmp_path, train=False), name="cifar10")
    assert images.name == "cifar10"
    assert images.labels == (3, 0, 9, 3)
    assert images.label_names == tuple(names)
    assert images.ids[3] == "CIFAR10[3]"
    expected = pixels[3].reshape(3, 32, 32).transpose(1, 2, 0)
    assert np.array_equal(np.asarray(read_image(images.images[3])), expected)


def test_mnist_is_read_from_its_own_files(tmp_path: Path):
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 28, 28), dtype=np.uint8)
    for part in ("train", "t10k"):
        header = struct.pack(">IIII", 0x803, 3, 28, 28)
        (raw / f"{part}-images-idx3-ubyte").write_bytes(header + pixels.tobytes())
        header = struct.pack(">II", 0x801, 3)
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(header + bytes([7, 0, 2]))
    images = read_torchvision(datasets.MNIST(tmp_path, train=False))
    assert images.labels == (7, 0, 2)
    assert images.label_names[7] == "7 - seven"
    grey = np.asarray(read_image(images.images[1]))
    assert np.array_equal(grey, np.repeat(pixels[1][..., None], 3, axis=2))


@pytest.mark.parametrize("labels", [[2, 0, 1], np.array([2, 0, 1]), torch.tensor([2, 0, 1])])
@pytest.mark.parametrize("attribute", ["targets", "labels", "_labels", "y"])
def test_labels_are_taken_from_where_they_are_kept(attribute: str, labels: Any):
    images = read_torchvision(Listed([None] * 3, **{attribute: labels}))
    assert images.labels == (2, 0, 1)
    assert images.label_names == ()


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"targets": [5]},
        {"targets": ["a", "b", "c"]},
        {"labels": None},
        {"targets": [9, 9, 9], "target_transform": lambda target: target},
    ],
)
def test_labels_that_are_kept_nowhere_are_read_from_the_items(attributes: dict[str, Any]):
    assert read_torchvision(Listed([2, np.int64(0), torch.tensor(1)], **attributes)).labels == (
        2, 0, 1,
    )  # fmt: skip


def test_a_subset_is_a_data_set(folder: Path):
    images = read_torchvision(Subset(datasets.ImageFolder(folder), [2, 0]))
    assert images.labels == (1, 0)
    assert images.images[0].getpixel((0, 0)) == (0, 0, 0)
    assert images.ids == ("Subset[0]", "Subset[1]")


def test_names_may_be_categories_or_lists_of_synonyms():
    assert read_torchvision(Listed([0], categories=["faces"])).label_names == ("faces",)
    classes = [("tench", "Tinca tinca"), ("goldfish",)]
    assert read_torchvision(Listed([0], classes=classes)).label_names == ("tench", "goldfish")


def test_only_some_items_are_looked_at_before_they_are_asked_for():
    dataset = Listed([0] * 500, targets=[0] * 500)
    images = read_torchvision(dataset)
    assert len(dataset.asked) == 16
    dataset.asked.clear()
    assert images.images[17].getpixel((0, 0)) == (17, 0, 0)
    assert dataset.asked == [17]


def test_tensors_in_the_unit_range_are_images():
    pixels = torch.rand(3, 3, 5, 5)
    images = read_torchvision(TensorDataset(pixels, torch.tensor([1, 0, 1])))
    assert images.labels == (1, 0, 1)
    assert read_image(images.images[2]).size == (5, 5)


def test_a_copy_has_the_same_fingerprint_and_other_data_have_not(folder: Path, tmp_path: Path):
    base = read_torchvision(datasets.ImageFolder(folder)).fingerprint
    shutil.copytree(folder, tmp_path / "copy")
    assert read_torchvision(datasets.ImageFolder(tmp_path / "copy"), name="x").fingerprint == base
    Image.new("RGB", (8, 6), "red").save(tmp_path / "copy" / "cat" / "2.png")
    listed = Listed([0, 1])
    red = Listed([0, 1])
    red.items[1] = (Image.new("RGB", (4, 4), "red"), 1)
    others = [
        read_torchvision(dataset).fingerprint
        for dataset in (
            datasets.ImageFolder(tmp_path / "copy"),
            listed,
            red,
            Listed([0, 2]),
            Listed([0, 1, 1]),
            Listed([0, 1], classes=["cat", "owl"]),
        )
    ]
    assert len({base, *others}) == 7
    assert read_torchvision(Listed([0, 1])).fingerprint == others[1]


def test_an_item_that_cannot_be_read_is_named_when_it_is_asked_for(folder: Path):
    loader = {"loader": lambda path: Image.open(path).convert("RGB")}
    dataset = datasets.ImageFolder(folder, **loader)
    images = read_torchvision(dataset)
    (folder / "cat" / "2.png").write_bytes(b"broken")
    with pytest.raises(DataError, match=r"ImageFolder\[1\] cannot be read: cannot identify"):
        images.images[1]


@pytest.mark.parametrize(
    ("dataset", "error", "message"),
    [
        (Listed([]), DataError, "The image set Listed is empty"),
        (Listed([0, "cat"]), TypeError, "The labels of Listed must be whole numbers"),
        (Listed([0, 3], classes=["a", "b"]), DataError, r"Listed\[1\] .* the label 3: .* 0 to 1"),
        ([1, 2], TypeError, r"list\[0\] must be a pair of an image and a label; got .*int"),
    ],
)
def test_what_is_no_labelled_image_is_refused(dataset: Any, error: type[Exception], message: str):
    with pytest.raises(error, match=message):
        read_torchvision(dataset)
