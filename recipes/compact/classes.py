"""The classes of the two training files: their captions, and which must not be set apart."""

import random
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
import torch
from torch import Tensor

from clipn.benchmarks.suites.compact import CIFAR10_KINDS

TINY, CIFAR = "tiny_imagenet", "cifar10"

CIFAR_SYNONYMS = {
    "airplane": ["airplane", "plane", "aeroplane", "aircraft"],
    "automobile": ["automobile", "car", "motorcar"],
    "bird": ["bird"],
    "cat": ["cat", "house cat"],
    "deer": ["deer"],
    "dog": ["dog"],
    "frog": ["frog"],
    "horse": ["horse"],
    "ship": ["ship", "boat"],
    "truck": ["truck", "lorry"],
}

TEMPLATES = [
    "{}",
    "a {}",
    "a photo of a {}.",
    "a picture of a {}",
    "an image of a {}.",
    "a photo of the {}.",
    "a close-up photo of a {}.",
    "a blurry photo of a {}.",
    "a small photo of a {}.",
    "there is a {} in this picture",
    "a {} in a photograph",
    "this is a {}",
]


@dataclass(frozen=True, kw_only=True)
class ImageClass:
    """One class of the training data."""

    source: str
    name: str
    synonyms: list[str]

    def caption(self, generator: random.Random) -> str:
        """Draw a caption: the class's own name half of the time, else any of its synonyms."""
        word = self.name if generator.random() < 0.5 else generator.choice(self.synonyms)
        return generator.choice(TEMPLATES).format(word)


def read_classes(data_dir: Path) -> list[ImageClass]:
    """The 200 classes of Tiny-ImageNet, then the ten of CIFAR-10, each in label order.

    A synonym that two classes share ("wagon") says nothing about which is meant and is left out.
    """
    rows = pq.read_table(
        data_dir / "tiny_imagenet_train.parquet", columns=["label", "name", "synonyms"]
    ).to_pylist()
    tiny = {row["label"]: (row["name"], row["synonyms"]) for row in rows}
    rows = pq.read_table(data_dir / "cifar10_train.parquet", columns=["label", "name"]).to_pylist()
    cifar = {row["label"]: row["name"] for row in rows}
    shared = Counter(word for _, synonyms in tiny.values() for word in set(synonyms))
    classes = [
        ImageClass(
            source=TINY,
            name=name,
            synonyms=[word for word in synonyms if shared[word] == 1] or [name],
        )
        for _, (name, synonyms) in sorted(tiny.items())
    ]
    return classes + [
        ImageClass(source=CIFAR, name=name, synonyms=CIFAR_SYNONYMS[name])
        for _, name in sorted(cifar.items())
    ]


def related_matrix(classes: list[ImageClass]) -> Tensor:
    """True for a class of CIFAR-10 and a kind of it in Tiny-ImageNet, in both orders.

    Their pairs are neither matches nor opposites: the losses leave them out.

    Returns:
        (classes, classes).
    """
    index = {(c.source, c.name): position for position, c in enumerate(classes)}
    is_related = torch.zeros(len(classes), len(classes), dtype=torch.bool)
    for name, kinds in CIFAR10_KINDS.items():
        for kind in kinds:
            first, second = index[CIFAR, name], index[TINY, kind]
            is_related[first, second] = is_related[second, first] = True
    return is_related
