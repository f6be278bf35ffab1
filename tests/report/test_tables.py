import io

import pandas as pd
import pytest
from rich.console import Console

from clipn.benchmarks.published import published_rows
from clipn.benchmarks.results import CONVENTION, Result, average
from clipn.report.tables import group_tables, suite_tables, write_tables


def result(score="atd", *, suite="painted", sets=None, model="compact", rules=None):
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
        rules=rules or {},
        scores_file=f"{score}.npz",
    )


def test_markdown_shows_percent_and_the_average():
    table = suite_tables([result()])[0]
    lines = table.to_markdown().splitlines()
    assert lines[:3] == [
        "| model | score | grey | pink | average |",
        "| --- | --- | ---: | ---: | ---: |",
        "| compact | atd | 91.23 / 25.00 | 71.23 / 75.00 | 81.23 / 50.00 |",
    ]


def test_an_average_stands_where_it_says_more_than_the_sets():
    kinds = {"a": "near", "b": "far", "c": "far"}
    sets = {name: {"kind": kind, "auroc": 0.5, "fpr95": 0.5} for name, kind in kinds.items()}

    def averages(*names):
        table = suite_tables([result(sets={name: sets[name] for name in names})])[0]
        return table.header[2 + len(names) :]

    assert averages("a", "b", "c") == ["far average", "average"]
    assert averages("a", "b") == ["average"]
    assert averages("b", "c") == ["average"]
    assert averages("a") == []


def shown(table, width):
    """What a terminal of so many columns shows."""
    console = Console(width=width, file=io.StringIO())
    console.print(table.to_rich())
    return console.file.getvalue()


def test_a_narrow_terminal_cuts_no_name_and_no_figure():
    sets = {
        f"a_long_name_{number}": {"kind": "far", "auroc": 0.9, "fpr95": 0.25} for number in range(6)
    }
    table = suite_tables([result("max_logit", sets=sets)])[0]
    text = shown(table, 80)
    assert "\N{HORIZONTAL ELLIPSIS}" not in text
    assert "max_logit" in text
    assert text.count("90.00") == text.count("25.00") == 7
    assert text.startswith("painted, model compact")
    assert "AUROC / FPR95 in percent" in text


def test_several_models_are_told_apart_in_the_terminal():
    table = suite_tables([result(), result(model="other")])[0]
    lines = [line.split()[0] for line in shown(table, 120).splitlines() if "atd" in line]
    assert lines == ["compact", "other"]


def rule(accuracy, refused):
    figures = {"id_kept": 0.9, "id_accuracy": accuracy, "refused": {"unknown": refused}}
    return {"calibrated": {**figures, "h": 2 * accuracy * refused / (accuracy + refused)}}


def test_a_group_is_averaged_beside_what_is_published_of_it():
    results = [
        result("msp", suite=f"pacs-open-{domain}", rules=rule(accuracy, 0.5))
        for domain, accuracy in (("photo", 0.5), ("sketch", 0.7))
    ]
    (table,) = group_tables([*results, result()])
    assert table.name == "pacs-open"
    assert "Means over 2 of 4 suites." in table.caption
    assert table.header == ["model", "score", "rule", "accuracy", "refused", "H"]
    measured, clipn, clip = table.cells()
    assert measured == ["compact", "msp", "calibrated threshold", "60.00", "50.00", "54.17"]
    assert clipn[1:] == ["clipn", "not stated", "96.24", "-", "45.00"]
    assert clip[0] == "backbone unstated (published)"
    assert "slides of its repository" in table.to_markdown()


def test_without_a_suite_of_a_group_there_is_no_table_of_one():
    assert group_tables([result()]) == []


def test_csv_keeps_unrounded_shares():
    frame = pd.read_csv(io.StringIO(suite_tables([result(), result("msp")])[0].to_csv()))
    assert frame["score"].tolist() == ["atd", "msp"]
    assert frame["grey auroc"].tolist() == [0.91234, 0.91234]
    assert frame["origin"].unique().tolist() == ["measured"]


def test_latex_escapes_names():
    text = suite_tables([result("max_logit")])[0].to_latex()
    assert r"max\_logit" in text
    assert r"\begin{tabular}{llrrr}" in text
    assert text.startswith("% painted. AUROC / FPR95 in percent")


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
    assert table.cells()[1] == ["compact", "msp", "50.00 / 50.00", "-", "50.00 / 50.00"]
