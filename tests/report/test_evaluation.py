import base64
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clipn.report.evaluation import write_report

GOOD, BAD = np.array([0.4, 0.6, 0.8, 0.9]), np.array([0.1, 0.2, 0.5])
RIGHT = np.array([False, True, True, True])


def test_the_table_has_every_figure_in_percent_with_its_interval(measured, report):
    measured.add("msp", GOOD, {"things": BAD, "noise": BAD - 0.3})

    table = report(measured).all("table")[0]

    body = table.one("tbody", "measured")
    assert body.rows()[0] == ["Measured: tiny"]
    assert body.rows()[1] == [
        "msp", "91.67 90.67\N{EN DASH}92.67", "33.33",
        "100.00 99.00\N{EN DASH}101.00", "0.00", "95.83", "16.67",
    ]  # fmt: skip
    assert [th.text for th in table.all("th") if th.attributes.get("scope") == "colgroup"] == [
        "ood things", "ood noise", "average",
    ]  # fmt: skip


def test_the_average_of_a_kind_stands_beside_the_average_of_all(measured, report):
    kinds = {"a": "near", "b": "far", "c": "far"}
    measured.add("msp", GOOD, {"a": BAD, "b": BAD - 0.3, "c": BAD - 0.3}, kinds=kinds)

    table = report(measured).all("table")[0]

    groups = [th.text for th in table.all("th") if th.attributes.get("scope") == "colgroup"]
    assert groups[3:] == ["far average", "average"]  # of the kind near there is one set
    assert table.one("tbody", "measured").rows()[1][-4::2] == ["100.00", "97.22"]
    assert "Near sets resemble the known classes" in table.one("caption").text


def test_one_set_has_no_average(measured, report):
    measured.add("msp", GOOD, {"things": BAD})

    table = report(measured).all("table")[0]

    assert len(table.one("tbody", "measured").rows()[1]) == 3


def test_scores_come_best_first_and_the_best_figures_are_marked(measured, report):
    measured.add("msp", GOOD, {"things": BAD})
    measured.add("energy", GOOD * 100, {"things": BAD * 50})
    measured.add("mcm", GOOD, {"things": GOOD})

    page = report(measured)

    body = page.all("table")[0].one("tbody", "measured")
    assert [row[0] for row in body.rows()[1:]] == ["energy", "msp", "mcm"]
    marked = [[cell.text for cell in row.all("td", "best")] for row in body.all("tr")]
    assert marked == [[], ["100.00 99.00\N{EN DASH}101.00", "0.00"], [], []]
    assert [item.text for item in page.all("ul", "legend")[0].all("li")] == ["energy", "msp", "mcm"]
    details = [node for node in page.all("details") if node.all("figure")]
    assert ["open" in node.attributes for node in details] == [True, False, False]


def test_published_rows_stand_apart_with_backbone_and_source(measured, report):
    measured.add("mcm", GOOD, dict.fromkeys(("iNaturalist", "SUN"), BAD), suite="imagenet-mos")

    table = report(measured).all("table")[0]

    assert [row[0] for row in table.one("tbody", "measured").rows()] == ["Measured: tiny", "mcm"]
    published = table.one("tbody", "published")
    rows = {row[0].split()[0]: row for row in published.rows()[1:]}
    assert rows["mcm"][1:] == ["94.61", "30.91", "92.57", "37.59", "90.77", "42.74"]
    assert "ViT-B-16; MCM, NeurIPS 2022" in rows["mcm"][0]
    assert published.all("td", "best") == []


def test_published_figures_of_an_unknown_convention_say_so(measured, report):
    measured.add("mcm", GOOD, {"SUN": BAD}, suite="imagenet-mos")

    text = report(measured).one("tbody", "published").text

    assert "which class FPR95 counts as positive is not stated" in text


def test_suites_that_are_published_as_one_are_averaged(measured, report):
    for suite in ("pacs-open-photo", "pacs-open-sketch"):
        measured.add("atd", GOOD, {f"{suite} unknown": BAD}, suite=suite, id_right=RIGHT)
    other = measured.add("msp", GOOD, {"noise": BAD}, suite="mine", id_right=RIGHT)
    rule = measured.results[0].rules["calibrated"]

    page = report(measured)

    group = page.all("section")[0]
    assert group.one("h2").text == "pacs-open"
    assert "2 of 4 suites: pacs-open-photo, pacs-open-sketch" in group.text
    (row,) = group.one("tbody", "measured").rows()
    share = f"{100 * rule['id_accuracy']:.2f}"
    assert row == ["atd", "calibrated threshold", "tiny", share, row[4], f"{100 * rule['h']:.2f}"]
    published = group.one("tbody", "published").rows()[1]
    assert published[0].startswith("clipn backbone not stated; ODG-CLIP, CVPR 2024")
    assert published[1:] == ["not stated", "not stated", "96.24", "\N{EN DASH}", "45.00"]
    assert [node.text for node in page.one("nav").all("a")] == [
        "pacs-open", "pacs-open-photo", "pacs-open-sketch", other.suite,
    ]  # fmt: skip


def test_every_set_has_a_roc_curve_of_every_score_and_the_line_at_95(measured, report):
    measured.add("msp", GOOD, {"things": BAD, "noise": BAD - 0.3})
    measured.add("energy", GOOD * 100, {"things": BAD * 50, "noise": BAD})

    figures = report(measured).one("div", "curves").all("figure")

    assert [figure.one("figcaption").text for figure in figures] == ["things", "noise"]
    for figure in figures:
        lines = figure.all("path", "line")
        assert {line.classes[1] for line in lines} == {"k0", "k1"}
        assert len(figure.all("path", "mark")) == 1
        assert "TPR 95 %" in figure.text
        assert "msp" in figure.one("svg").attributes["aria-label"]


def test_scores_keep_their_style_on_every_suite(measured, report):
    measured.add("msp", GOOD, {"things": BAD}, suite="one")
    measured.add("energy", GOOD, {"things": BAD - 0.3}, suite="one")
    measured.add("energy", GOOD, {"things": BAD}, suite="two")

    legends = [node for node in report(measured).all("ul", "legend") if node.all("svg")]

    styles = [{item.text: item.classes for item in legend.all("li")} for legend in legends]
    assert styles == [{"energy": ["k1"], "msp": ["k0"]}, {"energy": ["k1"]}]


def test_histograms_of_a_score_share_their_axes_and_show_the_threshold(measured, report):
    result = measured.add("msp", GOOD, {"things": BAD, "noise": BAD - 0.3})

    figures = [one for one in report(measured).all("figure") if one.all("path", "area")]

    assert [figure.one("figcaption").text for figure in figures] == [
        f"{name} AUROC {100 * result.sets[name]['auroc']:.2f}" for name in ("things", "noise")
    ]
    ticks = [[node.text for node in figure.all("text", "tick")] for figure in figures]
    assert ticks[0] == ticks[1]
    assert ticks[0][-1] == "threshold"
    for figure in figures:
        assert [path.classes[1] for path in figure.all("path", "area")] == ["ood", "id"]


def test_decisions_of_rules_and_threshold_are_told(measured, report):
    result = measured.add("atd", GOOD, {"things": BAD}, id_right=RIGHT, own_rule_at=0.5)

    tables = report(measured).all("table")

    rows = tables[1].rows()
    assert rows[0] == ["Score", "Rule", "ID kept", "ID kept and right", "things refused", "H"]
    threshold = result.rules["calibrated"]["threshold"]
    assert rows[1][1] == f"calibrated threshold 95 % kept at {threshold:.6g}"
    # Kept are 0.6, 0.8 and 0.9, all right; of the others 0.1 and 0.2 are refused.
    assert rows[2] == ["atd", "its own rule", "75.00", "75.00", "66.67", "70.59"]


def test_reliability_is_shown_where_it_is_known_which_answers_are_right(measured, report):
    measured.add("msp", GOOD, {"things": BAD}, id_right=RIGHT)
    measured.add("energy", GOOD * 100, {"things": BAD}, id_right=RIGHT)

    page = report(measured)

    captions = [figure.one("figcaption").text for figure in page.all("figure")]
    # |0 - 0.4| + |1 - 0.6| + |1 - 0.8| + |1 - 0.9|, each a quarter of the images
    told = "Accuracy of the answer by score ECE 27.50; dotted: a probability that holds"
    assert told in captions
    assert captions.count("Accuracy of the answer by score") == 1  # energy is no probability
    assert captions.count("Risk at coverage") == 1


def test_without_labels_there_is_no_reliability_and_no_h(measured, report):
    measured.add("msp", GOOD, {"things": BAD})

    page = report(measured)

    assert "Accuracy of the answer" not in page.text
    assert "Risk at coverage" not in page.text
    assert page.all("table")[1].rows()[1][-1] == "\N{EN DASH}"
    assert [node.text for node in page.one("dl", "facts").all("dt")] == [
        "Best AUROC",
        "Best FPR95",
    ]


def test_the_most_wrongly_judged_images_are_shown(measured, report, coloured_set):
    outside = np.array([0.1, 0.9, np.nan, 0.5])
    inside = np.array([0.8, np.nan, 0.3, 0.7, 0.6])
    measured.add("msp", inside, {"things": outside})
    images = (coloured_set("pets", 5), coloured_set("things", 4))

    page = report(measured, images=images)

    accepted, rejected = page.all("ul", "pictures")
    assert [item.text for item in accepted.all("li")] == [
        "0.9000 odd things/1.jpg", "0.5000 odd things/3.jpg", "0.1000 even things/0.jpg",
    ]  # fmt: skip
    assert [item.text.split()[-1] for item in rejected.all("li")] == [
        "pets/2.jpg", "pets/4.jpg", "pets/3.jpg", "pets/0.jpg",
    ]  # fmt: skip
    pictures = rejected.all("img")
    assert [_red(picture.attributes["src"]) for picture in pictures] == [20, 40, 30, 0]
    assert pictures[0].attributes["alt"] == "even of pets, pets/2.jpg"


def test_pictures_tell_what_an_image_was_taken_for(measured, report, coloured_set):
    result = measured.add(
        "msp", np.array([0.2, 0.1]), {"things": np.array([0.9])}, class_names=("even", "odd")
    )
    measured.scores[result.key] = replace(
        measured.scores[result.key],
        id_best=np.array([0, 0]),
        ood_best={"things": np.array([1])},
    )
    things = replace(coloured_set("things", 1), labels=(-1,))

    page = report(measured, images=(coloured_set("pets", 2), things))

    accepted, rejected = page.all("ul", "pictures")
    assert [item.text for item in accepted.all("li")] == ["0.9000 taken for odd things/0.jpg"]
    assert [item.text for item in rejected.all("li")] == [
        "0.1000 odd taken for even pets/1.jpg", "0.2000 even, recognised pets/0.jpg",
    ]  # fmt: skip


def _red(source: str) -> int:
    data = base64.b64decode(source.removeprefix("data:image/jpeg;base64,"))
    with Image.open(io.BytesIO(data)) as image:
        assert image.size == (16, 12)
        return round(np.asarray(image)[..., 0].mean() / 10) * 10


def test_images_other_than_the_measured_ones_are_not_shown(measured, report, coloured_set):
    measured.add("msp", GOOD, {"things": BAD}, fingerprints={"things": "another"})

    page = report(measured, images=(coloured_set("pets", 4), coloured_set("things", 3)))

    assert [node.attributes["alt"][:12] for node in page.all("img")] == [
        "even of pets", "odd of pets,", "even of pets", "odd of pets,",
    ]  # fmt: skip
    assert "No pictures: the images were not at hand." in page.text


def test_scores_that_depend_on_the_stream_are_ranked_by_their_mean(measured, report, coloured_set):
    streams = {"a": np.array([0.1, 0.5, 0.6]), "b": np.array([0.9, 0.3, 0.6])}
    measured.add("ada_neg", streams, {"a": BAD, "b": BAD - 0.3}, id_right=np.array([True] * 3))

    page = report(measured, images=(coloured_set("pets", 3),))

    assert [item.text.split()[0] for item in page.one("ul", "pictures").all("li")] == [
        "0.4000", "0.5000", "0.6000",
    ]  # fmt: skip


def test_unreadable_images_are_named(measured, report, coloured_set):
    measured.add("msp", np.append(GOOD, np.nan), {"things": np.append(BAD, np.nan)})

    page = report(measured, images=(coloured_set("pets", 5),))

    assert "pets: 1 (pets/4.jpg); things: 1 (row 3)" in page.one("dl", "origin").text


def test_provenance_is_told(measured, report):
    measured.add("react", GOOD, {"things": BAD})

    origin = report(measured).all("details")[-1]

    for text in ("0123456789abcdef", "ID positive", "a photo of a {}.", "cat", "100.0"):
        assert text in origin.one("dl", "origin").text
    data, scores = origin.all("table")
    assert data.rows()[1:] == [
        ["pets", "id", "4", "0", "print of pets"],
        ["things", "ood", "3", "0", "print of things"],
    ]
    assert scores.rows()[1] == [
        "react", "percentile 90", "\N{EN DASH}", "2026-11-23T10:00:00+00:00", "0.1.0",
    ]  # fmt: skip


def test_two_models_are_told_apart(measured, report):
    measured.add("msp", GOOD, {"things": BAD}, model="small")
    measured.add("msp", GOOD, {"things": BAD - 0.3}, model="large")

    page = report(measured)

    bodies = page.all("table")[0].all("tbody", "measured")
    assert [body.rows()[0] for body in bodies] == [["Measured: large"], ["Measured: small"]]
    assert [node.text for node in page.all("h3")] == [
        "AUROC and FPR95", "Model: large", "Model: small",
    ]  # fmt: skip


def test_names_cannot_break_out_of_the_page(measured, report, coloured_set):
    evil = "<script>alert('&')</script>\"><mark>"
    images = coloured_set(evil, 4)
    measured.add(
        evil, GOOD, {f"{evil}2": BAD}, suite=evil, model=evil, id_set=evil,
        class_names=(evil,), templates=(evil,), id_right=RIGHT,
    )  # fmt: skip

    page = report(measured, images=(images,))

    assert page.all("script") == page.all("mark") == []
    assert page.one("h2").text == evil
    assert page.all("img")[0].attributes["alt"] == f"even of {evil}, {evil}/0.jpg"
    assert evil in page.all("svg", "plot")[0].attributes["aria-label"]


def test_the_page_refers_to_nothing_but_itself(measured, report, coloured_set):
    measured.add("msp", GOOD, {"things": BAD}, suite="one")
    measured.add("msp", GOOD, {"things": BAD}, suite="two")

    page = report(measured, images=(coloured_set("pets", 4),))

    places = {node.attributes["id"] for node in page.walk() if "id" in node.attributes}
    references = [
        node.attributes[name] for node in page.walk() for name in ("src", "href")
        if name in node.attributes
    ]  # fmt: skip
    assert references
    for reference in references:
        assert reference.startswith("data:image/jpeg;base64,") or reference[1:] in places
    for node in page.walk():
        assert node.attributes.get("aria-labelledby", "suite-1") in places
    assert page.all("script") == page.all("link") == []
    assert "url(" not in page.one("style").text
    assert "@import" not in page.one("style").text


def test_ids_are_unique(measured, report):
    for suite in ("one", "two"):
        for model in ("small", "large"):
            measured.add("msp", GOOD, {"things": BAD}, suite=suite, model=model)
            measured.add("energy", GOOD, {"things": BAD}, suite=suite, model=model)

    page = report(measured)

    ids = [node.attributes["id"] for node in page.walk() if "id" in node.attributes]
    assert len(ids) == len(set(ids))


def test_a_constant_score_is_drawn(measured, report):
    measured.add("msp", np.ones(4), {"things": np.ones(3)}, id_right=RIGHT)

    page = report(measured)

    assert page.all("table")[0].one("tbody", "measured").rows()[1][1].startswith("50.00")
    assert all("nan" not in path.attributes["d"] for path in page.all("path"))


def test_a_loader_is_asked_once_for_each_result(measured, tmp_path: Path):
    measured.add("msp", GOOD, {"things": BAD})
    measured.add("energy", GOOD, {"things": BAD})
    asked: list[str] = []

    def load(result):
        asked.append(result.score)
        return measured.scores[result.key]

    write_report(tmp_path / "report.html", measured.results, load)

    assert sorted(asked) == ["energy", "msp"]


def test_no_results_are_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="at least one result; got none"):
        write_report(tmp_path / "report.html", [], {})


def test_missing_scores_are_named_and_nothing_is_written(measured, tmp_path: Path):
    measured.add("msp", GOOD, {"things": BAD})

    with pytest.raises(ValueError, match="scores of msp of tiny on mine are missing"):
        write_report(tmp_path / "report.html", measured.results, {})
    assert list(tmp_path.iterdir()) == []


def test_many_scores_and_sets_stay_below_five_megabytes(
    measured, report, tmp_path: Path, coloured_set: Callable
):
    generator = np.random.default_rng(0)
    for number in range(14):
        outside = {f"set {i}": generator.normal(size=25) for i in range(4)}
        measured.add(f"score {number}", 1 + generator.normal(size=25), outside)

    report(measured, images=tuple(coloured_set(name, 25) for name in ("pets", "set 0", "set 1")))

    assert (tmp_path / "report.html").stat().st_size < 5e6
