import io

import pandas as pd
import pytest

from clipn.benchmarks.published import published_rows
from clipn.benchmarks.results import CONVENTION, Result, average
from clipn.report.tables import suite_tables, write_tables


def result(score="atd", *, suite="painted", sets=None, model="compact"):
    sets = sets or {
        "grey": {"kind": "far", "auroc": 0.91234, "fpr95": 0.25},
        "pink": {"kind": "near", "auroc": 0.71234, "fpr95": 0.75},
    }
    return Result(
        suite=suite,
        score=score,
        score_options={},
        model=model,
        model_fingerprint="0123456789abcdef",
        package_version="1.2.3",
        date="2026-01-01T00:00:00+00:00",
        convention=CONVENTION,
        templates=["{}"],
        class_names=["red"],
        tau=100.0,
        words=None,
        data={},
        id_accuracy=None,
        sets=sets,
        averages=average(sets),
        rules={},
        scores_file=f"{score}.npz",
    )


def test_markdown_shows_percent_and_all_averages():
    table = suite_tables([result()])[0]
    lines = table.to_markdown().splitlines()
    assert lines[0] == "| model | score | grey | pink | near average | far average | average |"
    assert lines[2] == (
        "| compact | atd | 91.23 / 25.00 | 71.23 / 75.00 | 71.23 / 75.00 | 91.23 / 25.00 "
        "| 81.23 / 50.00 |"
    )


def test_one_set_needs_no_average():
    sets = {"grey": {"kind": "far", "auroc": 0.5, "fpr95": 0.5}}
    assert suite_tables([result(sets=sets)])[0].columns == ("grey",)


def test_csv_keeps_unrounded_shares():
    frame = pd.read_csv(io.StringIO(suite_tables([result(), result("msp")])[0].to_csv()))
    assert frame["score"].tolist() == ["atd", "msp"]
    assert frame["grey auroc"].tolist() == [0.91234, 0.91234]
    assert frame["origin"].unique().tolist() == ["measured"]


def test_latex_escapes_names():
    text = suite_tables([result("max_logit")])[0].to_latex()
    assert r"max\_logit" in text
    assert r"\begin{tabular}{llrrrrr}" in text


def test_published_rows_stand_beside_ours_with_their_source():
    names = ("iNaturalist", "SUN", "Places", "Textures")
    sets = {name: {"kind": "far", "auroc": 0.6, "fpr95": 0.9} for name in names}
    table = suite_tables([result(suite="imagenet-mos", sets=sets)])[0]
    published = published_rows("imagenet-mos")
    assert table.frame["origin"].tolist() == ["measured"] + ["published"] * len(published)
    text = table.to_markdown()
    assert "(published)" in text
    assert all(row.source in text for row in published)
    # What a publication leaves out is no figure of ours.
    csp = next(cells for cells in table.cells() if cells[1] == "csp")
    assert csp[2:] == ["-", "-", "-", "-", "95.76 / 17.51"]


def test_a_bar_in_a_name_does_not_break_the_table():
    line = suite_tables([result(model="a|b")])[0].to_markdown().splitlines()[2]
    assert r"| a\|b |" in line


@pytest.mark.parametrize("suffix", [".md", ".csv", ".tex"])
def test_tables_are_written_in_every_format(tmp_path, suffix):
    paths = write_tables(tmp_path, suite_tables([result(), result(suite="other")]))
    assert {p.name for p in paths if p.suffix == suffix} == {f"painted{suffix}", f"other{suffix}"}
    assert all(p.read_text() for p in paths)


def test_a_set_that_one_result_lacks_is_left_blank():
    sets = {"grey": {"kind": "far", "auroc": 0.5, "fpr95": 0.5}}
    table = suite_tables([result(), result("msp", sets=sets)])[0]
    assert table.cells()[1] == ["compact", "msp", "50.00 / 50.00", "-", "-", *["50.00 / 50.00"] * 2]
