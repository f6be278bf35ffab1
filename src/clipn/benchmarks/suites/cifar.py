"""Suites around CIFAR-10 and CIFAR-100: CLIPN's small scale, and OpenOOD's."""

from typing import Literal

from clipn.benchmarks.layouts import Folders, Layout, ParquetFile, TorchvisionSet
from clipn.benchmarks.native import NativeForm
from clipn.benchmarks.suite import SetKind, SetSpec, Suite
from clipn.benchmarks.suites.openood import OPENOOD, openood_set
from clipn.data.class_names import read_class_list

Cifar = Literal["cifar10", "cifar100"]

KRIZHEVSKY = "Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009"
CLIPN = "Wang et al., CLIPN for Zero-Shot OOD Detection: Teaching CLIP to Say No, ICCV 2023"
TITLES = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100"}
# How long those of OpenOOD's lists are that differ with the known classes. Images that show one of
# these are left out; CIFAR-10 is listed whole as an OOD set, CIFAR-100 is not.
OPENOOD_COUNTS = {
    "cifar10": {"cifar100": 9_000, "tin": 7_793, "places365": 35_195},
    "cifar100": {"cifar10": 10_000, "tin": 6_526, "places365": 33_773},
}
# CLIP's prompts for CIFAR (data/prompts.md of github.com/openai/CLIP).
TEMPLATES = tuple(
    f"a {kind}photo of {article} {size}{{}}."
    for article in ("a", "the")
    for kind, size in (
        ("", ""),
        ("blurry ", ""),
        ("black and white ", ""),
        ("low contrast ", ""),
        ("high contrast ", ""),
        ("bad ", ""),
        ("good ", ""),
        ("", "small "),
        ("", "big "),
    )
)


def _cifar(which: Cifar, *, split: Literal["train", "test"] = "test", kind: SetKind) -> SetSpec:
    """All images of a split."""
    # In this order: as torchvision leaves it, as Hugging Face publishes it, folders by class.
    is_ten = which == "cifar10"
    folder = "plain_text" if is_ten else "cifar100"
    hub = ParquetFile(
        file=f"{which}/{folder}/{split}-00000-of-00001.parquet",
        image_column="img",
        label_column="label" if is_ten else "fine_label",
    )
    on_disk = "cifar-10-batches-py" if is_ten else "cifar-100-python"
    layouts: list[Layout] = [
        TorchvisionSet(
            dataset="CIFAR10" if is_ten else "CIFAR100",
            root=root,
            holds=f"{root}/{on_disk}",
            options={"train": split == "train"},
        )
        for root in (".", which)
    ]
    folders = (f"{which}/{split}", f"images_classic/{which}/{split}")
    layouts += [hub, *(Folders(folders=(f,), holds="classes") for f in folders)]
    return SetSpec(
        name=TITLES[which] if split == "test" else f"{TITLES[which]}-train",
        kind=kind,
        layouts=tuple(layouts),
        num_images=10_000 if split == "test" else 50_000,
        citation=KRIZHEVSKY,
        where=(
            f"Get the Python version from cs.toronto.edu/~kriz/cifar.html; it unpacks to {on_disk}."
        ),
    )


LSUN = SetSpec(
    name="LSUN",
    kind="far",
    layouts=tuple(
        Folders(folders=(folder,), holds="images")
        for folder in ("LSUN_resize/LSUN_resize", "LSUN_resize")
    ),
    num_images=10_000,
    citation="Yu et al., LSUN, 2015; resized by Liang et al. (ODIN), ICLR 2018",
    where="Get LSUN (resize) from github.com/facebookresearch/odin; it unpacks to LSUN_resize.",
)
IMAGENET_R = SetSpec(
    name="ImageNet-R",
    kind="far",
    layouts=(Folders(folders=("imagenet-r",), holds="images"),),
    num_images=30_000,
    citation="Hendrycks et al., The Many Faces of Robustness, ICCV 2021",
    where=(
        "Get imagenet-r.tar from github.com/hendrycks/imagenet-r; it unpacks to "
        "imagenet-r/<wnid>/*.jpg."
    ),
)


def _paper_suite(which: Cifar, other: Cifar) -> Suite:
    classes = read_class_list(which)
    return Suite(
        name=which,
        title=f"{TITLES[which]} against {TITLES[other]}, LSUN and ImageNet-R (CLIPN)",
        citation=CLIPN,
        id_set=_cifar(which, kind="id"),
        ood_sets=(_cifar(other, kind="near"), LSUN, IMAGENET_R),
        class_names=tuple(classes.values()),
        class_ids=tuple(classes),
        templates=TEMPLATES,
        native=NativeForm(size=32),
        training_set=_cifar(which, split="train", kind="id"),
        notes=(
            "All images are brought to 32 px first, or blur would tell ImageNet-R apart; the paper "
            "does not say how it sizes them."
        ),
    )


def _openood_suite(which: Cifar, other: Cifar) -> Suite:
    classes, counts = read_class_list(which), OPENOOD_COUNTS[which]
    return Suite(
        name=f"{which}-openood",
        title=f"{TITLES[which]} against OpenOOD v1.5's near and far sets",
        citation=OPENOOD,
        id_set=openood_set(which, TITLES[which], which, num_images=9_000, kind="id"),
        ood_sets=(
            openood_set(which, TITLES[other], other, num_images=counts[other], kind="near"),
            openood_set(which, "TinyImageNet", "tin", num_images=counts["tin"], kind="near"),
            openood_set(which, "MNIST", "mnist", num_images=70_000, kind="far"),
            openood_set(which, "SVHN", "svhn", num_images=26_032, kind="far"),
            openood_set(which, "Textures", "texture", num_images=5_640, kind="far"),
            openood_set(
                which, "Places365", "places365", num_images=counts["places365"], kind="far"
            ),
        ),
        class_names=tuple(classes.values()),
        class_ids=tuple(classes),
        templates=TEMPLATES,
        native=NativeForm(size=32),
        training_set=_cifar(which, split="train", kind="id"),
        notes=(
            f"9,000 of {TITLES[which]}'s 10,000 test images; OpenOOD keeps the rest for validation."
        ),
    )


CIFAR_SUITES = (
    _paper_suite("cifar10", "cifar100"),
    _paper_suite("cifar100", "cifar10"),
    _openood_suite("cifar10", "cifar100"),
    _openood_suite("cifar100", "cifar10"),
)
