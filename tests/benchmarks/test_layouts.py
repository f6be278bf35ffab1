"""Every protocol's sets in the layouts that they are published in."""

import io
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clipn.benchmarks.layouts import Folders, TarFiles
from clipn.benchmarks.opening import open_set
from clipn.benchmarks.suite import SetSpec, Suite
from clipn.benchmarks.suites import get_suite
from clipn.data.class_names import imagenet_wnids, read_class_list
from clipn.data.image_sets import ImageSet
from clipn.data.images import read_image
from clipn.errors import DataError


def spec_of(suite: Suite, name: str) -> SetSpec:
    return next(spec for spec in suite.all_sets if spec.name == name)


def peek(root: Path, suite: Suite, name: str) -> ImageSet:
    """Open what there is of a set."""
    images = open_set(spec_of(suite, name), root, suite=suite, counts="report")
    assert images.name == name
    for row in range(len(images)):
        read_image(images.images[row])
    return images


# ImageNet

WNIDS = ["n01440764", "n01443537", "n15075141"]  # labels 0, 1 and 999


@pytest.mark.parametrize("root", ["imagenet/", "ImageNet/", "ILSVRC2012/", ""])
def test_imagenet_in_folders_by_class(tmp_path, plant, root):
    plant(f"{root}val/{wnid}/ILSVRC2012_val_0000000{n}.JPEG" for wnid in WNIDS for n in (1, 2))
    images = peek(tmp_path, get_suite("imagenet-mos"), "ImageNet-1K")
    assert images.labels == (0, 0, 1, 1, 999, 999)
    assert images.label_names[999] == "toilet paper"


def write_devkit(folder: Path, truth: list[int], synsets: list[tuple[int, str]]) -> None:
    scipy_io = pytest.importorskip("scipy.io")
    data = folder / "data"
    data.mkdir(parents=True)
    (data / "ILSVRC2012_validation_ground_truth.txt").write_text("\n".join(map(str, truth)))
    kind = [("ILSVRC2012_ID", "i4"), ("WNID", "O"), ("words", "O")]
    rows = np.array([(number, wnid, "words") for number, wnid in synsets], dtype=kind)
    scipy_io.savemat(data / "meta.mat", {"synsets": rows})


def test_imagenet_flat_takes_its_labels_from_the_development_kit(tmp_path, plant):
    # The kit's own numbers are not in the order of the labels, and inner nodes follow from 1001.
    synsets = [(1, WNIDS[2]), (2, WNIDS[0]), (3, WNIDS[1]), (1001, "n00001740")]
    write_devkit(tmp_path / "imagenet/ILSVRC2012_devkit_t12", [3, 1, 2, 2], synsets)
    plant(f"imagenet/val/ILSVRC2012_val_0000000{n}.JPEG" for n in (1, 2, 4))
    images = peek(tmp_path, get_suite("imagenet-mos"), "ImageNet-1K")
    assert images.labels == (1, 999, 0)


def test_an_image_without_ground_truth_is_named(tmp_path, plant):
    synsets = [(1, WNIDS[2]), (2, WNIDS[0])]
    write_devkit(tmp_path / "imagenet/ILSVRC2012_devkit_t12", [1, 2], synsets)
    plant(["imagenet/val/ILSVRC2012_val_00000003.JPEG"])
    with pytest.raises(DataError, match=r"val_00000003\.JPEG' .* has no class in .*ground_truth"):
        peek(tmp_path, get_suite("imagenet-mos"), "ImageNet-1K")


def test_a_damaged_development_kit_is_named(tmp_path, plant):
    kit = tmp_path / "imagenet/ILSVRC2012_devkit_t12"
    write_devkit(kit, [1, 2], [(1, WNIDS[2]), (2, WNIDS[0])])
    plant(["imagenet/val/ILSVRC2012_val_00000001.JPEG"])
    (kit / "data/ILSVRC2012_validation_ground_truth.txt").write_text("1\nn01440764\n")
    with pytest.raises(DataError, match=r"ground_truth\.txt' must hold a whole number a line"):
        peek(tmp_path, get_suite("imagenet-mos"), "ImageNet-1K")
    (kit / "data/meta.mat").write_bytes(b"no MATLAB file" * 20)
    with pytest.raises(DataError, match=r"meta\.mat' is not the development kit's list"):
        peek(tmp_path, get_suite("imagenet-mos"), "ImageNet-1K")


def test_mos_sets_and_all_textures(tmp_path, plant):
    suite = get_suite("imagenet-mos")
    plant(
        f"{name}/images/{name}_{n}.jpg" for name in ("iNaturalist", "SUN", "Places") for n in "ab"
    )
    plant(f"dtd/images/{name}/{name}_0001.jpg" for name in ("banded", "bubbly"))
    for name in ("iNaturalist", "SUN", "Places", "Textures"):
        assert peek(tmp_path, suite, name).labels == (-1, -1)


def test_vims_sets_and_textures_without_what_imagenet_shows(tmp_path, plant):
    suite = get_suite("imagenet-o")
    plant(["openimage_o/images/0001.jpg", "imagenet-o/n01443537/n01443537_1.JPEG"])
    plant(f"dtd/images/{name}/{name}_0001.jpg" for name in ("banded", "bubbly", "woven"))
    assert peek(tmp_path, suite, "OpenImage-O").labels == (-1,)
    assert peek(tmp_path, suite, "ImageNet-O").labels == (-1,)
    textures = peek(tmp_path, suite, "Textures")
    assert textures.labels == (-1, -1)
    assert textures.ids == ("banded/banded_0001.jpg", "woven/woven_0001.jpg")


def write_list(root: Path, list_file: str, lines: list[str]) -> None:
    path = root / "benchmark_imglist" / list_file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))


def test_openoods_lists(tmp_path, plant):
    suite = get_suite("imagenet-openood")
    large, classic = "images_largescale", "images_classic"
    entries = {
        "imagenet": (large, "imagenet_1k/val/ILSVRC2012_val_00000001.JPEG", 65),
        "ssb_hard": (large, "ssb_hard/n00470682/1.JPEG", -1),
        "ninco": (large, "ninco/Caracal caracal caracal/1.jpeg", -1),
        "inaturalist": (large, "inaturalist/images/1.jpg", -1),
        "textures": (classic, "texture/banded/banded_0002.jpg", -1),
        "openimage_o": (large, "openimage_o/images/1.jpg", -1),
    }
    for name, (folder, path, label) in entries.items():
        plant([f"{folder}/{path}"])
        write_list(tmp_path, f"imagenet/test_{name}.txt", [f"{path} {label}"])
    assert peek(tmp_path, suite, "ImageNet-1K").labels == (65,)
    for spec in suite.ood_sets:
        assert peek(tmp_path, suite, spec.name).labels == (-1,)


@pytest.mark.parametrize("folder", ["imagenet/val", "ImageNet10/val", "datasets/ImageNet10/val"])
def test_subsets_of_imagenet_lie_in_its_folders_or_their_own(tmp_path, plant, folder):
    suite = get_suite("imagenet10-20")
    wnids = list(read_class_list("imagenet10"))
    others = ["n01440764"] if folder == "imagenet/val" else []
    plant(f"{folder}/{wnid}/1.JPEG" for wnid in [*wnids, *others])
    images = peek(tmp_path, suite, "ImageNet-10")
    assert images.labels == tuple(range(10))
    assert images.label_names == suite.class_names


def test_one_subset_of_imagenet_is_ood_to_the_other(tmp_path, plant):
    suite = get_suite("imagenet20-10")
    twenty, ten = read_class_list("imagenet20"), read_class_list("imagenet10")
    plant(f"imagenet/val/{wnid}/1.JPEG" for wnid in (*twenty, *ten))
    assert peek(tmp_path, suite, "ImageNet-20").labels == tuple(range(20))
    assert peek(tmp_path, suite, "ImageNet-10").labels == (-1,) * 10


def test_training_images_of_a_subset(tmp_path, plant):
    plant(f"imagenet/train/{wnid}/1.JPEG" for wnid in (*read_class_list("imagenet10"), WNIDS[0]))
    assert peek(tmp_path, get_suite("imagenet10-20"), "ImageNet-10-train").labels == tuple(
        range(10)
    )


# CIFAR


@pytest.mark.parametrize("root", ["", "cifar10/"])
def test_cifar_as_torchvision_leaves_it(tmp_path, monkeypatch, root):
    datasets = pytest.importorskip("torchvision.datasets")
    # The files of a test are not the ones whose checksums torchvision knows.
    monkeypatch.setattr(datasets.cifar, "check_integrity", lambda *_: True)
    folder = tmp_path / f"{root}cifar-10-batches-py"
    folder.mkdir(parents=True)
    names = list(read_class_list("cifar10"))
    pixels = np.arange(3 * 3072, dtype=np.uint32).reshape(3, 3072).astype(np.uint8)
    batch = {"data": pixels, "labels": [3, 9, 0]}
    (folder / "test_batch").write_bytes(pickle.dumps(batch))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": names}))
    images = peek(tmp_path, get_suite("cifar10"), "CIFAR-10")
    assert images.labels == (3, 9, 0)
    assert peek(tmp_path, get_suite("cifar100"), "CIFAR-10").labels == (-1, -1, -1)


def test_what_torchvision_refuses_is_told_with_its_set(tmp_path):
    (tmp_path / "cifar-10-batches-py").mkdir()
    with pytest.raises(DataError, match=r"CIFAR-10 of the suite cifar10 .*torchvision's CIFAR10"):
        peek(tmp_path, get_suite("cifar10"), "CIFAR-10")


@pytest.mark.parametrize("which", ["cifar10", "cifar100"])
def test_cifar_as_hugging_face_publishes_it(tmp_path, jpegs, which):
    folder, label = ("plain_text", "label") if which == "cifar10" else ("cifar100", "fine_label")
    file = tmp_path / which / folder / "test-00000-of-00001.parquet"
    file.parent.mkdir(parents=True)
    pictures = [{"bytes": data, "path": None} for data in jpegs[:3]]
    pq.write_table(pa.table({"img": pictures, label: [7, 0, 2]}), file)
    suite = get_suite(which)
    assert peek(tmp_path, suite, suite.id_set.name).labels == (7, 0, 2)


def test_cifar_in_folders_by_class(tmp_path, plant):
    plant(["cifar10/test/truck/1.png", "cifar10/test/airplane/1.png"])
    assert peek(tmp_path, get_suite("cifar10"), "CIFAR-10").labels == (0, 9)


def test_the_papers_other_sets(tmp_path, plant):
    plant(["LSUN_resize/LSUN_resize/0.jpg", "imagenet-r/n01443537/art_0.jpg"])
    for name in ("LSUN", "ImageNet-R"):
        assert peek(tmp_path, get_suite("cifar100"), name).labels == (-1,)


def test_openoods_lists_for_cifar(tmp_path, plant):
    suite = get_suite("cifar10-openood")
    lists = ["cifar10", "cifar100", "tin", "mnist", "svhn", "texture", "places365"]
    for name in lists:
        path = f"{name}/test/thing/0001.png"
        plant([f"images_classic/{path}"])
        write_list(
            tmp_path, f"cifar10/test_{name}.txt", [f"{path} {4 if name == 'cifar10' else -1}"]
        )
    assert peek(tmp_path, suite, "CIFAR-10").labels == (4,)
    for spec in suite.ood_sets:
        assert peek(tmp_path, suite, spec.name).labels == (-1,)


# Open domains


@pytest.mark.parametrize(
    ("pattern", "lower"),
    [
        ("office_home_dg/real_world/val", True),
        ("officehome/realworld/val", False),
        ("office_home/real_world", False),
        ("OfficeHomeDataset_10072016/Real World", False),
    ],
)
def test_officehome_shows_some_of_its_known_classes(tmp_path, plant, pattern, lower):
    suite = get_suite("officehome-open-real_world")
    folders = [n.lower() if lower else n for n in read_class_list("officehome")]
    plant(f"{pattern}/{folder}/00001.jpg" for folder in folders)
    known = peek(tmp_path, suite, "real_world-known")
    tested = (0, 3, 4, 9, 10, 15, 16, 21, 22, 23, 32, 33, 34, 43, 44, 45)
    assert sorted(known.labels or ()) == list(tested)
    assert known.label_names[0] == "alarm clock"
    unknown = peek(tmp_path, suite, "real_world-unknown")
    assert {Path(image).parts[0].lower() for image in unknown.ids} == {
        name.lower() for name in list(read_class_list("officehome"))[54:]
    }


def test_officehome_whole_must_have_all_images_of_its_domain(tmp_path, plant):
    suite = get_suite("officehome-open-art")
    plant(f"officehome/art/{folder}/00001.jpg" for folder in read_class_list("officehome"))
    with pytest.raises(DataError, match="is chosen from 65 images; there should be 2,427"):
        open_set(suite.id_set, tmp_path, suite=suite)


def test_the_other_domains_are_one_training_set(tmp_path, plant):
    suite = get_suite("officehome-open-art")
    domains = ("Clipart", "Product", "Real World")
    plant(f"OfficeHome/{d}/{c}/1.jpg" for d in domains for c in ("Webcam", "Bed", "Backpack"))
    images = peek(tmp_path, suite, "not-art-known")
    assert images.labels == (1, 3) * 3
    assert images.ids[-1] == "OfficeHome/Real World/Bed/1.jpg"


@pytest.mark.parametrize("inner", ["/val", ""])
def test_digits_dg_split_or_whole(tmp_path, plant, inner):
    suite = get_suite("digits-dg-open-svhn")
    plant(f"digits_dg/svhn{inner}/{digit}/1.jpg" for digit in range(10))
    assert peek(tmp_path, suite, "svhn-known").labels == tuple(range(7))
    unknown = peek(tmp_path, suite, "svhn-unknown")
    assert unknown.ids == ("7/1.jpg", "8/1.jpg", "9/1.jpg")


def test_digits_dg_whole_must_have_all_images_of_its_domain(tmp_path, plant):
    suite = get_suite("digits-dg-open-svhn")
    plant(f"digits_dg/svhn/{digit}/1.jpg" for digit in range(10))
    with pytest.raises(DataError, match="is chosen from 10 images; there should be 6,000"):
        open_set(suite.id_set, tmp_path, suite=suite)


@pytest.mark.parametrize("root", ["pacs", "PACS", "kfold", "pacs/images"])
def test_pacs_in_folders(tmp_path, plant, root):
    suite = get_suite("pacs-open-photo")
    classes = list(read_class_list("pacs"))
    for domain in ("art_painting", "cartoon", "photo", "sketch"):
        plant(f"{root}/{domain}/{name}/pic_001.jpg" for name in classes)
    assert peek(tmp_path, suite, "photo-known").labels == tuple(range(6))
    assert peek(tmp_path, suite, "photo-unknown").ids == ("person/pic_001.jpg",)
    assert peek(tmp_path, suite, "not-photo-known").labels == tuple(range(6)) * 3


def test_pacs_in_parquet(shared_dir):
    suite = get_suite("pacs-open-cartoon")
    training = open_set(spec_of(suite, "not-cartoon-known"), shared_dir / "data", suite=suite)
    assert read_image(training.images[0]).size == (64, 64)
    last = len(training) - 1
    assert read_image(training.images[last]).size == (64, 64)
    assert len(set(training.ids)) == len(training)


# A suite of one's own


def test_a_suite_of_tars_and_folders(tmp_path, plant, jpegs):
    with tarfile.open(tmp_path / "photos.tar", "w") as tar:
        for name in ("dog/1.jpg", "cat/1.jpg", "dog/2.jpg"):
            member = tarfile.TarInfo(name)
            member.size = len(jpegs[0])
            tar.addfile(member, io.BytesIO(jpegs[0]))
    plant(["noise/deep/down/1.jpg"])
    source = {"num_images": None, "citation": "none", "where": "Ask me."}
    photos, noise = TarFiles(tars=("photos.tar",)), Folders(folders=("noise",), holds="images")
    suite = Suite(
        name="mine",
        title="My photographs against noise",
        citation="none",
        id_set=SetSpec(name="photos", kind="id", layouts=(photos,), **source),
        ood_sets=(SetSpec(name="noise", kind="far", layouts=(noise,), **source),),
        class_names=("hound", "tabby"),
        class_ids=("dog", "cat"),
    )
    images = peek(tmp_path, suite, "photos")
    assert images.labels == (0, 1, 0)
    assert images.label_names == ("hound", "tabby")
    assert peek(tmp_path, suite, "noise").labels == (-1,)


def test_labels_index_the_wnids_of_imagenet():
    assert [imagenet_wnids()[label] for label in (0, 1, 999)] == WNIDS
