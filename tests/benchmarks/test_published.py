"""Published figures: carried over whole, as shares, with where they are stated."""

import json

import pytest

from clipn.benchmarks.published import PublishedRow, published_rows
from clipn.benchmarks.suites import SUITE_GROUPS, SUITES
from clipn.scores import SCORES

SHOWN = [name for name in (*SUITES, *SUITE_GROUPS) if published_rows(name)]
# Protocols of which only figures are known.
NOT_SUITES = ("imagenet-contamination-free", "vlcs-open", "mini-domainnet-open")
ROWS = [row for name in (*SHOWN, *NOT_SUITES) for row in published_rows(name)]


def find(suite: str, method: str) -> list[PublishedRow]:
    return [row for row in published_rows(suite) if row.method == method]


def test_a_golden_row():
    paper, release = find("imagenet-mos", "clipn-atd")
    assert paper.sets["iNaturalist"] == {"fpr95": 0.2394, "auroc": 0.9527}
    assert paper.average == {"fpr95": 0.311, "auroc": 0.931}
    assert (paper.score, paper.backbone, paper.positive) == ("atd", "ViT-B-16", "id")
    assert paper.verified == "partly"
    assert release.verified == "yes"
    assert release.source == "CLIPN repository README"


def test_every_figure_of_the_reference_is_carried_over(shared_dir):
    reference = json.loads((shared_dir / "reference/published.json").read_text())
    mos = published_rows("imagenet-mos")
    for row, theirs in zip(mos, reference["ood"], strict=False):
        assert (row.method, row.source) == (theirs["method"], theirs["source"])
        assert (row.verified, row.positive) == (theirs["verified"], theirs["positive"])
        assert row.average == pytest.approx({k: v / 100 for k, v in theirs["average"].items()})
        for name, figures in theirs["sets"].items():
            assert row.sets[name] == pytest.approx({k: v / 100 for k, v in figures.items()})
    domains = reference["open_domain_generalization"]["rows"]
    accuracies = [r.average["accuracy"] for r in ROWS if "h" in r.average]
    assert sorted(accuracies) == pytest.approx(sorted(row["acc"] / 100 for row in domains))
    clean = published_rows("imagenet-contamination-free")
    theirs = reference["contamination_free"]["rows"]
    assert [row.sets["NINCO"]["auroc"] for row in clean] == pytest.approx(
        [row["sets"]["NINCO"] / 100 for row in theirs]
    )


def test_every_row_is_shown_somewhere():
    assert len(ROWS) == 30
    assert {row.suite for row in ROWS} == {*SHOWN, *NOT_SUITES}


@pytest.mark.parametrize("row", ROWS, ids=[f"{row.suite} {row.method}" for row in ROWS])
def test_a_row_names_its_source_and_its_figures_are_shares(row: PublishedRow):
    assert row.source
    assert row.score is None or row.score in SCORES
    tables = [*row.sets.values(), row.average]
    values = [value for table in tables for value in table.values()]
    assert values
    assert all(0 <= value <= 1 for value in values)
    if row.suite in SUITES:
        assert set(row.sets) <= {spec.name for spec in SUITES[row.suite].ood_sets}


def test_a_suite_that_nobody_has_published_has_no_rows():
    assert published_rows("compact-cifar10") == ()
