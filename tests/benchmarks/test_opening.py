"""What is said of sets that are missing, not whole or not readable."""

from dataclasses import replace
from pathlib import Path

import pytest

from clipn.benchmarks.layouts import DevkitImages, Folders
from clipn.benchmarks.opening import SetCheck, check_suite, open_set
from clipn.benchmarks.suite import SetSpec, Suite
from clipn.benchmarks.suites import SUITES, get_suite
from clipn.data.class_names import read_class_list
from clipn.data.image_sets import ImageSet
from clipn.errors import DataError

WNIDS = ["n01440764", "n01443537", "n15075141"]  # labels 0, 1 and 999 of ImageNet


def spec_of(suite: Suite, name: str) -> SetSpec:
    return next(spec for spec in suite.all_sets if spec.name == name)


def open_part(root: Path, suite: Suite, name: str) -> ImageSet:
    """Open what there is of a set."""
    return open_set(spec_of(suite, name), root, suite=suite, counts="report")


def with_counts(suite: Suite, **num_images: int) -> Suite:
    """A suite of small sets, otherwise the same."""

    def small(spec: SetSpec) -> SetSpec:
        count = num_images.get(spec.name.replace("-", "_"), spec.num_images)
        return replace(spec, num_images=count)

    return replace(
        suite, id_set=small(suite.id_set), ood_sets=tuple(small(s) for s in suite.ood_sets)
    )


# What is said of sets that are not whole


@pytest.mark.parametrize("suite", SUITES.values(), ids=list(SUITES))
def test_a_set_that_is_missing_is_named_with_where_to_get_it(tmp_path, suite):
    for check, spec in zip(check_suite(suite, tmp_path), suite.all_sets, strict=True):
        assert (check.name, check.path, check.num_found) == (spec.name, None, 0)
        assert check.problem is not None
        assert f"The set {spec.name} of the suite {suite.name} is not below" in check.problem
        assert str(spec.layouts[0]) in check.problem
        assert check.problem.endswith(spec.where)
        assert not check.is_sound


def test_opening_a_missing_set_says_the_same(tmp_path):
    suite = get_suite("imagenet-mos")
    message = (
        "SUN of the suite imagenet-mos is not below .*Looked for: SUN/images/.*large_scale_ood"
    )
    with pytest.raises(DataError, match=message):
        open_set(spec_of(suite, "SUN"), tmp_path, suite=suite)


def test_a_wrong_count_is_refused_unless_it_is_only_reported(tmp_path, plant):
    suite = get_suite("imagenet-mos")
    plant(["SUN/images/1.jpg"])
    with pytest.raises(
        DataError, match=r"'.*SUN/images', has 1 image; the protocol has 10,000\. Get"
    ):
        open_set(spec_of(suite, "SUN"), tmp_path, suite=suite)
    small = with_counts(suite, SUN=1)
    assert len(open_set(spec_of(small, "SUN"), tmp_path, suite=small)) == 1


def test_classes_without_images_are_named(tmp_path, plant):
    suite = with_counts(get_suite("imagenet-mos"), ImageNet_1K=3)
    plant(f"imagenet/val/{wnid}/1.JPEG" for wnid in WNIDS)
    message = "ImageNet-1K .* has no image of n01484850, n01491361, .* and 993 more. Get"
    with pytest.raises(DataError, match=message):
        open_set(suite.id_set, tmp_path, suite=suite)


def test_a_folder_of_no_known_class_is_named(tmp_path, plant):
    plant([f"imagenet/val/{WNIDS[0]}/1.JPEG", "imagenet/val/holiday/1.JPEG"])
    with pytest.raises(DataError, match=r"'holiday/1\.JPEG' is of no known class of the suite"):
        open_part(tmp_path, get_suite("imagenet-mos"), "ImageNet-1K")


def test_a_set_of_other_classes_is_refused(tmp_path, plant):
    plant([f"imagenet/val/{WNIDS[0]}/1.JPEG"])
    with pytest.raises(DataError, match=r"ImageNet-10 .* it holds no image of n01530575"):
        open_part(tmp_path, get_suite("imagenet10-20"), "ImageNet-10")


def test_id_images_without_labels_are_refused(tmp_path, plant):
    suite = get_suite("cifar10")
    spec = replace(suite.id_set, layouts=(Folders(folders=("photos",), holds="images"),))
    plant(["photos/1.jpg"])
    with pytest.raises(DataError, match=r"CIFAR-10 .* its images have no labels"):
        open_set(spec, tmp_path, suite=suite)


def test_a_list_that_names_missing_images_is_told_with_its_set(tmp_path, plant):
    plant(["images_largescale/ninco/a.jpg"])
    lists = tmp_path / "benchmark_imglist/imagenet"
    lists.mkdir(parents=True)
    (lists / "test_ninco.txt").write_text("ninco/a.jpg -1\nninco/b.jpg -1\n")
    with pytest.raises(DataError, match=r"NINCO of the suite .* 1 of 2 .*'ninco/b\.jpg'.*OpenOOD"):
        open_part(tmp_path, get_suite("imagenet-openood"), "NINCO")


def test_flat_validation_images_are_not_taken_for_class_folders(tmp_path, plant):
    plant(["imagenet/val/ILSVRC2012_val_00000001.JPEG"])
    suite = get_suite("imagenet-mos")
    with pytest.raises(
        DataError, match=r"ImageNet-1K .* is not below .*ILSVRC2012_devkit_t12 beside"
    ):
        open_part(tmp_path, suite, "ImageNet-1K")
    assert any(isinstance(layout, DevkitImages) for layout in suite.id_set.layouts)


# Checking a suite


@pytest.fixture
def small_pacs(plant) -> Suite:
    """PACS's photo domain with one image of each class, and a suite that asks for no more."""
    plant(f"pacs/photo/{name}/pic_001.jpg" for name in read_class_list("pacs"))
    suite = with_counts(get_suite("pacs-open-photo"), photo_known=6, photo_unknown=1)
    return replace(suite, training_set=None)


def test_a_sound_suite_has_no_problems(tmp_path, small_pacs):
    seen = []
    checks = check_suite(small_pacs, tmp_path, on_images=lambda *args: seen.append(args))
    assert checks == (
        SetCheck(
            name="photo-known",
            kind="id",
            path="pacs/photo/<class>/*",
            num_found=6,
            num_expected=6,
            unreadable=(),
            problem=None,
        ),
        SetCheck(
            name="photo-unknown",
            kind="ood",
            path="pacs/photo/<class>/*",
            num_found=1,
            num_expected=1,
            unreadable=(),
            problem=None,
        ),
    )
    assert all(check.is_sound for check in checks)
    assert seen == [("photo-known", 6, 6), ("photo-unknown", 1, 1)]


def test_images_that_cannot_be_read_are_named(tmp_path, small_pacs, jpegs):
    (tmp_path / "pacs/photo/guitar/pic_001.jpg").write_bytes(jpegs[0][:200])
    (tmp_path / "pacs/photo/horse/pic_001.jpg").write_bytes(b"")
    known, unknown = check_suite(small_pacs, tmp_path)
    assert known.problem is None
    assert not known.is_sound
    cut, empty = known.unreadable
    assert "guitar/pic_001.jpg cannot be read as an image" in cut
    assert "Truncated" in cut
    assert "horse/pic_001.jpg cannot be read as an image" in empty
    assert "it is empty" in empty
    assert unknown.is_sound


def test_counting_opens_no_image(tmp_path, small_pacs):
    for file in (tmp_path / "pacs/photo").rglob("*.jpg"):
        file.write_bytes(b"no image")
    assert all(check.is_sound for check in check_suite(small_pacs, tmp_path, depth="counts"))


def test_a_wrong_count_is_reported_with_what_is_there(tmp_path, small_pacs, plant):
    plant(["pacs/photo/dog/pic_002.jpg"])
    known, _ = check_suite(small_pacs, tmp_path)
    assert (known.num_found, known.num_expected, known.unreadable) == (7, 6, ())
    assert known.problem is not None
    assert "photo-known of the suite pacs-open-photo" in known.problem
    assert "has 7 images; the protocol has 6" in known.problem


def test_the_training_set_is_told_apart(tmp_path):
    checks = check_suite(get_suite("pacs-open-photo"), tmp_path, depth="counts")
    assert [check.kind for check in checks] == ["id", "ood", "training"]
