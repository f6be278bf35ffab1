"""What a suite may be made of, and what is refused."""

from dataclasses import replace

import pytest

from clipn.benchmarks.layouts import (
    DevkitImages,
    Folders,
    Layout,
    ListFile,
    ParquetFile,
    TarFiles,
    TorchvisionSet,
)
from clipn.benchmarks.suite import SetKind, SetSpec, Suite


def make_set(name: str, kind: SetKind = "id", **changes) -> SetSpec:
    layout = Folders(folders=(name,), holds="classes")
    spec = SetSpec(
        name=name, kind=kind, layouts=(layout,), num_images=2, citation="A paper.", where="Here."
    )
    return replace(spec, **changes)


def make_suite(**changes) -> Suite:
    suite = Suite(
        name="mine",
        title="Mine",
        citation="A paper.",
        id_set=make_set("photos"),
        ood_sets=(make_set("noise", "far"),),
        class_names=("cat", "dog"),
    )
    return replace(suite, **changes)


def test_data_call_classes_by_their_names_unless_ids_are_given():
    assert make_suite().class_ids == ("cat", "dog")
    assert make_suite(class_ids=("n01", "n02")).class_ids == ("n01", "n02")


def test_sets_come_in_the_order_id_ood_training():
    suite = make_suite(training_set=make_set("more photos"))
    assert [spec.name for spec in suite.test_sets] == ["photos", "noise"]
    assert [spec.name for spec in suite.all_sets] == ["photos", "noise", "more photos"]
    assert make_suite().all_sets == make_suite().test_sets


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"class_names": ("cat", "Cat")}, "class_names of the suite mine must differ; 'Cat'"),
        ({"class_ids": ("n01", "n01")}, "class_ids of the suite mine must differ; 'n01'"),
        ({"class_ids": ("n01",)}, "one of class_ids for each of class_names; got 1 for 2"),
        ({"ood_sets": (make_set("photos", "far"),)}, "set names .* must differ; 'photos'"),
        ({"ood_sets": ()}, "must have class_names and ood_sets"),
        ({"ood_sets": (make_set("noise"),)}, "noise of the suite mine has the kind 'id'"),
        ({"id_set": make_set("photos", "near")}, "photos of the suite mine has the kind 'near'"),
        ({"training_set": make_set("more", "ood")}, "more of the suite mine has the kind 'ood'"),
        ({"id_set": make_set("photos", classes=("cow",))}, "known classes; got 'cow'"),
    ],
)
def test_a_suite_that_does_not_fit_together_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        make_suite(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": ""}, "fit for a file's name; got ''"),
        ({"name": "a/b"}, "fit for a file's name; got 'a/b'"),
        ({"layouts": ()}, "photos must have at least one layout"),
        ({"num_images": 0}, "photos must have images; got 0"),
    ],
)
def test_a_set_that_cannot_be_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(make_set("photos"), **changes)


@pytest.mark.parametrize(
    ("layout", "paths", "text"),
    [
        (Folders(folders=("a", "b"), holds="classes"), ("a", "b"), "a/<class>/* + b/<class>/*"),
        (Folders(folders=("a",), holds="images"), ("a",), "a/*"),
        (
            ListFile(list_file="l.txt", image_root="i"),
            ("l.txt", "i"),
            "l.txt (a list of images below i)",
        ),
        (ParquetFile(file="p.parquet"), ("p.parquet",), "p.parquet"),
        (
            ParquetFile(file="p.parquet", where=("domain", ("photo", "sketch"))),
            ("p.parquet",),
            "p.parquet (domain: photo, sketch)",
        ),
        (TarFiles(tars=("a.tar",)), ("a.tar",), "a.tar"),
        (
            TorchvisionSet(dataset="CIFAR10", holds="cifar-10-batches-py"),
            ("cifar-10-batches-py",),
            "cifar-10-batches-py (of torchvision's CIFAR10)",
        ),
        (
            DevkitImages(folder="val", devkit="kit"),
            ("val", "kit/data/ILSVRC2012_validation_ground_truth.txt", "kit/data/meta.mat"),
            "val/*.JPEG with kit",
        ),
    ],
)
def test_a_layout_says_what_must_be_there(layout: Layout, paths, text):
    assert layout.paths == paths
    assert str(layout) == text
