"""The suites as data: names, classes, counts, and the counts of the true sets."""

import subprocess
import sys

import pytest

from clipn.benchmarks.opening import check_suite, open_set
from clipn.benchmarks.suite import Suite
from clipn.benchmarks.suites import SUITE_GROUPS, SUITES, get_suite, get_suites
from clipn.benchmarks.suites.compact import CIFAR10_KINDS, TINY_IMAGENET
from clipn.benchmarks.suites.imagenet import OVERLAPPING_TEXTURES
from clipn.data.class_names import (
    imagenet_names,
    imagenet_templates,
    imagenet_wnids,
    read_class_list,
)
from clipn.templates import check_templates

ALL = pytest.mark.parametrize("suite", SUITES.values(), ids=list(SUITES))
SIZES = {
    "imagenet-mos": 1000,
    "imagenet-openood": 1000,
    "imagenet-o": 1000,
    "imagenet10-20": 10,
    "imagenet20-10": 20,
    "imagenet100-mos": 100,
    "cifar10": 10,
    "cifar100": 100,
    "cifar10-openood": 10,
    "cifar100-openood": 100,
    "officehome-open": 54,
    "digits-dg-open": 7,
    "pacs-open": 6,
    "compact-cifar10": 10,
    "compact-tiny": 100,
}


def counts(name: str) -> dict[str, int | None]:
    return {spec.name: spec.num_images for spec in get_suite(name).test_sets}


@ALL
def test_a_suite_says_what_it_is_and_where_its_sets_come_from(suite: Suite):
    assert suite.name == suite.name.lower()
    assert suite.title
    assert suite.citation
    for spec in suite.all_sets:
        assert spec.citation
        assert spec.where.endswith(".")


@ALL
def test_templates_have_one_place(suite: Suite):
    if suite.templates is not None:
        assert check_templates(suite.templates) == suite.templates
        assert len(set(suite.templates)) == len(suite.templates)


@ALL
def test_known_and_unknown_classes_of_one_data_set_do_not_meet(suite: Suite):
    known = set(suite.class_ids)
    for spec in suite.ood_sets:
        assert known.isdisjoint(spec.classes or ())


@ALL
def test_a_set_has_a_count_unless_no_source_fixes_it(suite: Suite):
    for spec in suite.test_sets:
        assert (spec.num_images is None) == suite.name.startswith(("officehome", "digits-dg"))


def test_every_suite_has_the_number_of_classes_of_its_protocol():
    for name, num_classes in SIZES.items():
        for suite in get_suites(name):
            assert len(suite.class_names) == num_classes
    assert {suite.name for name in SIZES for suite in get_suites(name)} == set(SUITES)


def test_groups_are_made_of_suites():
    members = [member for group in SUITE_GROUPS.values() for member in group]
    assert len(members) == len(set(members)) == 12
    assert set(members) <= set(SUITES)
    assert set(SUITE_GROUPS).isdisjoint(SUITES)


def test_a_name_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match=r"Unknown suite 'imagenet'; there are imagenet-mos, "):
        get_suite("imagenet")
    with pytest.raises(ValueError, match=r"Unknown suite 'imagenet'; there are .*pacs-open"):
        get_suites("imagenet")
    with pytest.raises(ValueError, match=r"'pacs-open' is a group of suites: .*pacs-open-photo"):
        get_suite("pacs-open")


def test_published_counts():
    assert counts("imagenet-mos") == {
        "ImageNet-1K": 50_000,
        "iNaturalist": 10_000,
        "SUN": 10_000,
        "Places": 10_000,
        "Textures": 5_640,
    }
    assert counts("imagenet-openood") == {
        "ImageNet-1K": 45_000,
        "SSB-hard": 49_000,
        "NINCO": 5_879,
        "iNaturalist": 10_000,
        "Textures": 5_160,
        "OpenImage-O": 15_869,
    }
    assert counts("imagenet-o") == {
        "ImageNet-1K": 50_000,
        "OpenImage-O": 17_632,
        "Textures": 5_160,
        "iNaturalist": 10_000,
        "ImageNet-O": 2_000,
    }
    assert counts("imagenet10-20") == {"ImageNet-10": 500, "ImageNet-20": 1_000}
    assert counts("cifar100") == {
        "CIFAR-100": 10_000,
        "CIFAR-10": 10_000,
        "LSUN": 10_000,
        "ImageNet-R": 30_000,
    }


def test_openoods_lists_for_cifar_leave_out_what_shows_a_known_class():
    shared = {"MNIST": 70_000, "SVHN": 26_032, "Textures": 5_640}
    assert counts("cifar10-openood") == {
        "CIFAR-10": 9_000,
        "CIFAR-100": 9_000,
        "TinyImageNet": 7_793,
        "Places365": 35_195,
        **shared,
    }
    assert counts("cifar100-openood") == {
        "CIFAR-100": 9_000,
        "CIFAR-10": 10_000,
        "TinyImageNet": 6_526,
        "Places365": 33_773,
        **shared,
    }


@pytest.mark.parametrize("name", ["imagenet-openood", "cifar10-openood", "cifar100-openood"])
def test_openood_tells_near_from_far(name):
    kinds = [spec.kind for spec in get_suite(name).ood_sets]
    assert kinds == ["near"] * 2 + ["far"] * (len(kinds) - 2)


# Class names


def test_imagenet_has_1000_sorted_ids_and_different_names():
    assert len(imagenet_wnids()) == len(set(imagenet_names())) == 1000
    assert list(imagenet_wnids()) == sorted(imagenet_wnids())
    names = dict(zip(imagenet_wnids(), imagenet_names(), strict=True))
    assert names["n01440764"] == "tench"
    assert (names["n03773504"], names["n04008634"]) == ("missile", "projectile")
    assert (names["n04355933"], names["n04356056"]) == ("sunglass", "sunglasses")


def test_imagenet_names_are_open_clips_but_for_the_two_that_repeat():
    from open_clip import IMAGENET_CLASSNAMES, OPENAI_IMAGENET_TEMPLATES

    differing = {
        wnid
        for wnid, ours, theirs in zip(
            imagenet_wnids(), imagenet_names(), IMAGENET_CLASSNAMES, strict=True
        )
        if ours != theirs
    }
    assert differing == {"n04008634", "n04355933"}
    ours = [template.format("cat") for template in imagenet_templates()]
    assert ours == [template("cat") for template in OPENAI_IMAGENET_TEMPLATES]


@pytest.mark.parametrize("size", [10, 20, 100])
def test_subsets_of_imagenet_are_made_of_its_ids(size):
    wnids = list(read_class_list(f"imagenet{size}"))
    assert len(wnids) == size
    assert wnids == sorted(wnids)
    assert set(wnids) <= set(imagenet_wnids())


def test_imagenet_10_and_20_are_the_ones_of_mcm():
    assert set(read_class_list("imagenet10")).isdisjoint(read_class_list("imagenet20"))
    assert "container ship" in get_suite("imagenet10-20").class_names
    assert "schooner" in get_suite("imagenet20-10").class_names


@pytest.mark.parametrize(
    ("name", "size"),
    [("cifar10", 10), ("cifar100", 100), ("dtd", 47), ("officehome", 65), ("pacs", 7)],
)
def test_labels_follow_the_sorted_names_of_folders(name, size):
    classes = list(read_class_list(name))
    assert len(classes) == size
    assert classes == sorted(classes)


def test_what_prompts_call_a_class_has_no_underscores():
    for name in ("cifar100", "officehome"):
        assert not any("_" in value for value in read_class_list(name).values())


def test_officehome_is_split_the_same_whatever_the_capitals():
    classes = list(read_class_list("officehome"))
    lower = sorted(name.lower() for name in classes)
    assert [name.lower() for name in classes[:54]] == lower[:54]


def test_a_list_of_classes_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match=r"no list of classes 'mnist'; there are cifar10, "):
        read_class_list("mnist")


def test_textures_leave_out_what_imagenet_shows():
    textures = next(s for s in get_suite("imagenet-o").ood_sets if s.name == "Textures")
    assert textures.classes is not None
    assert len(textures.classes) == 43
    assert textures.num_images == 120 * 43
    assert set(textures.classes) | set(OVERLAPPING_TEXTURES) == set(read_class_list("dtd"))


def test_compact_cifar10_leaves_out_kinds_of_its_own_classes():
    kinds = {kind for group in CIFAR10_KINDS.values() for kind in group}
    assert len(kinds) == 24
    assert kinds <= set(TINY_IMAGENET)
    assert set(CIFAR10_KINDS) <= set(get_suite("compact-cifar10").class_names)
    tiny = get_suite("compact-cifar10").ood_sets[0]
    assert set(tiny.classes or ()) == set(TINY_IMAGENET) - kinds


def test_listing_the_suites_imports_no_torch():
    code = (
        "import sys; from clipn.benchmarks import SUITES, published_rows; "
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# The true sets


TRUE = [
    "compact-cifar10",
    "compact-tiny",
    "pacs-open-art_painting",
    "pacs-open-cartoon",
    "pacs-open-photo",
    "pacs-open-sketch",
]


@pytest.mark.parametrize("name", TRUE)
def test_the_true_sets_have_the_counts_of_the_protocol(shared_dir, name):
    suite = get_suite(name)
    checks = check_suite(suite, shared_dir / "data", depth="counts")
    assert [check.problem for check in checks] == [None] * len(suite.all_sets)
    assert [check.num_found for check in checks] == [spec.num_images for spec in suite.all_sets]


@pytest.mark.parametrize("name", ["compact-tiny", "pacs-open-sketch"])
def test_labels_of_the_true_sets_index_the_known_classes(shared_dir, name):
    suite = get_suite(name)
    assert suite.training_set is not None
    for spec in (suite.id_set, suite.training_set):
        images = open_set(spec, shared_dir / "data", suite=suite)
        assert images.label_names == suite.class_names
        assert set(images.labels or ()) == set(range(len(suite.class_names)))
    for spec in suite.ood_sets:
        assert set(open_set(spec, shared_dir / "data", suite=suite).labels or ()) == {-1}
