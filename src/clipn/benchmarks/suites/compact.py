"""Suites of small real images, for models that are taught in hours."""

from clipn.benchmarks.layouts import ParquetFile
from clipn.benchmarks.native import NativeForm
from clipn.benchmarks.suite import SetKind, SetSpec, Suite
from clipn.data.class_names import read_class_list

# Tiny-ImageNet's classes that show (kinds of) what CIFAR-10's classes show; a police van may be
# taken for an automobile or a truck.
CIFAR10_KINDS = {
    "automobile": ("beach wagon", "convertible", "limousine", "sports car", "police van"),
    "bird": ("goose", "black stork", "king penguin", "albatross"),
    "cat": ("tabby", "Persian cat", "Egyptian cat"),
    "deer": ("gazelle",),
    "dog": (
        "Chihuahua",
        "Yorkshire terrier",
        "golden retriever",
        "Labrador retriever",
        "German shepherd",
        "standard poodle",
    ),
    "frog": ("bullfrog", "tailed frog"),
    "ship": ("lifeboat", "gondola"),
    "truck": ("moving van", "police van"),
}
TINY_IMAGENET = tuple(read_class_list("tiny_imagenet"))
NUM_KNOWN = 100
JPEG_QUALITY = 75  # of the files' images

CIFAR = "Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009"
TINY = "Tiny ImageNet Visual Recognition Challenge, Stanford CS231n, 2015"


def _set(
    name: str,
    file: str,
    *,
    kind: SetKind,
    num_images: int,
    citation: str,
    classes: tuple[str, ...] | None = None,
) -> SetSpec:
    return SetSpec(
        name=name,
        kind=kind,
        layouts=(ParquetFile(file=f"{file}.parquet"),),
        num_images=num_images,
        citation=citation,
        where=(
            f"Make {file}.parquet with the columns image (encoded bytes), label and name; the "
            "paper named as its source says where its images are."
        ),
        classes=classes,
    )


def _unlike_cifar10() -> tuple[str, ...]:
    kinds = {kind for group in CIFAR10_KINDS.values() for kind in group}
    return tuple(name for name in TINY_IMAGENET if name not in kinds)


COMPACT_CIFAR10 = Suite(
    name="compact-cifar10",
    title="CIFAR-10 against Tiny-ImageNet, Textures, Scene-15 and MNIST at 32 px",
    citation=CIFAR,
    id_set=_set("cifar10", "cifar10_test", kind="id", num_images=10_000, citation=CIFAR),
    ood_sets=(
        _set(
            "tiny_imagenet",
            "tiny_imagenet_val",
            kind="near",
            num_images=8_800,
            citation=TINY,
            classes=_unlike_cifar10(),
        ),
        _set(
            "textures10",
            "textures10",
            kind="far",
            num_images=1_200,
            citation="Cimpoi et al., Describing Textures in the Wild, CVPR 2014",
        ),
        _set(
            "scenes15",
            "scenes15",
            kind="far",
            num_images=2_985,
            citation="Lazebnik et al., Beyond Bags of Features, CVPR 2006",
        ),
        _set(
            "mnist",
            "mnist_test",
            kind="far",
            num_images=2_000,
            citation="LeCun et al., Gradient-Based Learning Applied to Document Recognition, 1998",
        ),
    ),
    class_names=tuple(read_class_list("cifar10")),
    native=NativeForm(size=32, jpeg_quality=JPEG_QUALITY),
    training_set=_set(
        "cifar10_train", "cifar10_train", kind="id", num_images=25_000, citation=CIFAR
    ),
    notes=(
        "All images are brought to 32 px first, and compressed there as CIFAR-10's are. "
        "Tiny-ImageNet without the 24 classes that show kinds of CIFAR-10's; ten classes of "
        "Textures; 2,000 of MNIST's test digits."
    ),
)
COMPACT_TINY = Suite(
    name="compact-tiny",
    title="The first 100 classes of Tiny-ImageNet against the other 100 at 64 px",
    citation=TINY,
    id_set=_set(
        "tiny_imagenet_known",
        "tiny_imagenet_val",
        kind="id",
        num_images=5_000,
        citation=TINY,
        classes=TINY_IMAGENET[:NUM_KNOWN],
    ),
    ood_sets=(
        _set(
            "tiny_imagenet_unknown",
            "tiny_imagenet_val",
            kind="near",
            num_images=5_000,
            citation=TINY,
            classes=TINY_IMAGENET[NUM_KNOWN:],
        ),
    ),
    class_names=TINY_IMAGENET[:NUM_KNOWN],
    native=NativeForm(size=64, jpeg_quality=JPEG_QUALITY),
    training_set=_set(
        "tiny_imagenet_known_train",
        "tiny_imagenet_train",
        kind="id",
        num_images=22_500,
        citation=TINY,
        classes=TINY_IMAGENET[:NUM_KNOWN],
    ),
    notes="225 of the 500 training images of each class.",
)
COMPACT_SUITES = (COMPACT_CIFAR10, COMPACT_TINY)
