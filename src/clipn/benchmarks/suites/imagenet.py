"""Suites around ImageNet-1K: MOS, OpenOOD, ViM's sets, and MCM's subsets."""

from clipn.benchmarks.layouts import DevkitImages, Folders, Layout
from clipn.benchmarks.suite import SetKind, SetSpec, Suite
from clipn.benchmarks.suites.openood import OPENOOD, openood_set
from clipn.data.class_names import (
    imagenet_names,
    imagenet_templates,
    imagenet_wnids,
    read_class_list,
)

IMAGENET = "Russakovsky et al., ImageNet Large Scale Visual Recognition Challenge, IJCV 2015"
MOS = (
    "Huang and Li, MOS: Towards Scaling Out-of-distribution Detection for Large Semantic Space, "
    "CVPR 2021"
)
VIM = "Wang et al., ViM: Out-Of-Distribution with Virtual-logit Matching, CVPR 2022"
MCM = (
    "Ming et al., Delving into Out-of-Distribution Detection with Vision-Language "
    "Representations, NeurIPS 2022"
)
DTD = "Cimpoi et al., Describing Textures in the Wild, CVPR 2014"

MOS_PAGE = "Get the images chosen for MOS from github.com/deeplearning-wisc/large_scale_ood"
DTD_PAGE = "Get dtd-r1.0.1.tar.gz from robots.ox.ac.uk/~vgg/data/dtd; it unpacks to"
NAMES_NOTE = (
    "Class names are CLIP's cleaned ones. Two that it uses twice are told apart: n04008634 is "
    "'projectile' (not 'missile'), n04355933 'sunglass' (not 'sunglasses')."
)
# ViM and OpenOOD leave them out of Textures because ImageNet-1K shows them too.
OVERLAPPING_TEXTURES = ("bubbly", "cobwebbed", "honeycombed", "spiralled")
ROOTS = ("imagenet/", "ImageNet/", "ILSVRC2012/", "")


def _imagenet(
    name: str,
    *,
    split: str = "val",
    num_images: int | None,
    kind: SetKind = "id",
    wnids: tuple[str, ...] | None = None,
    folders: tuple[str, ...] = (),
) -> SetSpec:
    """Images of ImageNet-1K, of all classes or of some, in ImageNet's layouts or in `folders`."""
    class_folders = (*folders, *(f"{root}{split}" for root in ROOTS))
    layouts: list[Layout] = [Folders(folders=(f,), holds="classes") for f in class_folders]
    where = f"Get ILSVRC2012_img_{split}.tar from image-net.org and sort it to "
    where += f"imagenet/{split}/<wnid>/*.JPEG"
    if split == "val":
        layouts += [
            DevkitImages(folder=f"{root}val", devkit=f"{root}ILSVRC2012_devkit_t12")
            for root in ROOTS
        ]
        where += ", or leave it flat with imagenet/ILSVRC2012_devkit_t12 beside it"
    return SetSpec(
        name=name,
        kind=kind,
        layouts=tuple(layouts),
        num_images=num_images,
        citation=IMAGENET,
        where=where + ".",
        classes=wnids,
    )


def _flat(
    name: str, *folders: str, num_images: int, kind: SetKind = "ood", citation: str, where: str
) -> SetSpec:
    """Images in one folder, whatever folders are below it."""
    layouts = tuple(Folders(folders=(folder,), holds="images") for folder in folders)
    return SetSpec(
        name=name,
        kind=kind,
        layouts=layouts,
        num_images=num_images,
        citation=citation,
        where=where,
    )


def _mos(name: str) -> SetSpec:
    """One of the sets chosen for MOS; OpenOOD's images of them are the same."""
    folders = (f"{name}/images", f"images_largescale/{name.lower()}/images")
    where = f"{MOS_PAGE} and unpack them to {name}/images/*.jpg."
    return _flat(name, *folders, num_images=10_000, citation=MOS, where=where)


def _openood(name: str, *, kind: SetKind, num_images: int, list_name: str) -> SetSpec:
    """A list of OpenOOD's; the Textures among them lie with the images of its CIFAR suites."""
    image_root = "images_classic" if name == "Textures" else "images_largescale"
    return openood_set(
        "imagenet", name, list_name, num_images=num_images, kind=kind, image_root=image_root
    )


TEXTURES = _flat(
    "Textures",
    "dtd/images",
    "Textures/images",
    "images_classic/texture",
    num_images=5_640,
    citation=DTD,
    where=f"{DTD_PAGE} dtd/images/<class>/*.jpg.",
)
TEXTURES_43 = SetSpec(
    name="Textures",
    kind="ood",
    layouts=tuple(
        Folders(folders=(f,), holds="classes") for f in ("dtd/images", "Textures/images")
    ),
    num_images=5_160,
    citation=DTD,
    where=f"{DTD_PAGE} dtd/images/<class>/*.jpg, of which 43 of 47 classes are taken.",
    classes=tuple(name for name in read_class_list("dtd") if name not in OVERLAPPING_TEXTURES),
)
MOS_SETS = (_mos("iNaturalist"), _mos("SUN"), _mos("Places"), TEXTURES)
ALL_OF_IMAGENET = _imagenet("ImageNet-1K", num_images=50_000)
TRAINING = _imagenet("ImageNet-1K-train", split="train", num_images=1_281_167)


def _suite(
    name: str,
    title: str,
    *,
    citation: str,
    ood_sets: tuple[SetSpec, ...],
    notes: str,
    id_set: SetSpec = ALL_OF_IMAGENET,
) -> Suite:
    """A suite of all of ImageNet-1K's classes."""
    return Suite(
        name=name,
        title=title,
        citation=citation,
        id_set=id_set,
        ood_sets=ood_sets,
        class_names=imagenet_names(),
        class_ids=imagenet_wnids(),
        templates=imagenet_templates(),
        training_set=TRAINING,
        notes=f"{notes} {NAMES_NOTE}",
    )


IMAGENET_MOS = _suite(
    "imagenet-mos",
    "ImageNet-1K against iNaturalist, SUN, Places and Textures (MOS)",
    citation=MOS,
    ood_sets=MOS_SETS,
    notes="The main table of CLIPN, with all 47 classes of Textures.",
)
IMAGENET_OPENOOD = _suite(
    "imagenet-openood",
    "ImageNet-1K against OpenOOD v1.5's near and far sets",
    citation=OPENOOD,
    id_set=_openood("ImageNet-1K", kind="id", num_images=45_000, list_name="imagenet"),
    ood_sets=(
        _openood("SSB-hard", kind="near", num_images=49_000, list_name="ssb_hard"),
        _openood("NINCO", kind="near", num_images=5_879, list_name="ninco"),
        _openood("iNaturalist", kind="far", num_images=10_000, list_name="inaturalist"),
        _openood("Textures", kind="far", num_images=5_160, list_name="textures"),
        _openood("OpenImage-O", kind="far", num_images=15_869, list_name="openimage_o"),
    ),
    notes="45,000 of ImageNet's 50,000 validation images; OpenOOD keeps the rest.",
)
IMAGENET_O = _suite(
    "imagenet-o",
    "ImageNet-1K against OpenImage-O, Textures, iNaturalist and ImageNet-O (ViM)",
    citation=VIM,
    ood_sets=(
        _flat(
            "OpenImage-O",
            "openimage_o/images",
            "OpenImage-O/images",
            "images_largescale/openimage_o/images",
            num_images=17_632,
            citation=VIM,
            where=(
                "Get the images that datalists/openimage_o.txt of github.com/haoqiwang/vim lists "
                "from Open Images V3's test set and put them into openimage_o/images."
            ),
        ),
        TEXTURES_43,
        _mos("iNaturalist"),
        _flat(
            "ImageNet-O",
            "imagenet-o",
            num_images=2_000,
            citation="Hendrycks et al., Natural Adversarial Examples, CVPR 2021",
            where=(
                "Get imagenet-o.tar from github.com/hendrycks/natural-adv-examples; it unpacks to "
                "imagenet-o/<wnid>/*.JPEG."
            ),
        ),
    ),
    notes="Textures without the four classes that ImageNet-1K shows too.",
)


def _subset(num_classes: int, *, kind: SetKind = "id", split: str = "val") -> SetSpec:
    """One of MCM's subsets of ImageNet-1K, in ImageNet's folders or in its own."""
    name, own = f"ImageNet-{num_classes}", f"ImageNet{num_classes}/{split}"
    is_val = split == "val"
    return _imagenet(
        name if is_val else f"{name}-train",
        split=split,
        num_images=50 * num_classes if is_val else None,
        kind=kind,
        wnids=tuple(read_class_list(f"imagenet{num_classes}")),
        folders=(own, f"datasets/{own}"),
    )


def _subset_suite(
    name: str, num_classes: int, ood_sets: tuple[SetSpec, ...], title: str, notes: str
) -> Suite:
    names = dict(zip(imagenet_wnids(), imagenet_names(), strict=True))
    wnids = tuple(read_class_list(f"imagenet{num_classes}"))
    return Suite(
        name=name,
        title=title,
        citation=MCM,
        id_set=_subset(num_classes),
        ood_sets=ood_sets,
        class_names=tuple(names[wnid] for wnid in wnids),
        class_ids=wnids,
        templates=("a photo of a {}.",),
        training_set=_subset(num_classes, split="train"),
        notes=notes,
    )


HARD_NOTE = "Hard pairs that look or mean alike, such as schooner and container ship."
IMAGENET_SUITES = (
    IMAGENET_MOS,
    IMAGENET_OPENOOD,
    IMAGENET_O,
    _subset_suite(
        "imagenet10-20",
        10,
        (_subset(20, kind="near"),),
        "ImageNet-10 against ImageNet-20 (MCM)",
        HARD_NOTE,
    ),
    _subset_suite(
        "imagenet20-10",
        20,
        (_subset(10, kind="near"),),
        "ImageNet-20 against ImageNet-10 (MCM)",
        HARD_NOTE,
    ),
    _subset_suite(
        "imagenet100-mos",
        100,
        MOS_SETS,
        "ImageNet-100 against iNaturalist, SUN, Places and Textures (MCM)",
        "The 100 classes that MCM drew.",
    ),
)
