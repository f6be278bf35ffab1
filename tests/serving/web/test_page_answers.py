"""What the page says of pictures: the detector's answers, why, and the effect of the threshold."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from PIL import Image
from playwright.sync_api import expect

from clipn.detector import Detector
from clipn.model import CLIPN
from clipn.predictions import Predictions


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What the library answers for the photographs, taken without the service."""

    detector: Detector
    answers: Predictions
    p_yes: torch.Tensor
    p_no: torch.Tensor


@pytest.fixture
def expect_of(compact_model: CLIPN, photos: Sequence[Path], class_names: Sequence[str]):
    def expect_of(score: str, threshold: float | None = None) -> Expected:
        detector = Detector(compact_model, class_names, score=score, threshold=threshold)
        pixels = [compact_model.preprocess(Image.open(path).convert("RGB")) for path in photos]
        with torch.inference_mode():
            embeddings = compact_model.encode_image(torch.stack(pixels))
            yes, no = compact_model.logits(embeddings, detector.bank)
        return Expected(
            detector=detector,
            answers=detector.predict(photos),
            p_yes=yes.softmax(dim=-1),
            p_no=torch.sigmoid(no - yes),
        )

    return expect_of


@pytest.mark.parametrize("score", ["atd", "ctw"])
def test_labels_and_scores_are_those_of_the_detector(filled, expect_of, photos, score: str):
    filled.role("combobox", "Score").select_option(score)
    filled.settle(len(photos))

    answers = expect_of(score).answers

    assert filled.labels == [answer.label for answer in answers]
    assert {"none of these", "espresso"} <= set(filled.labels)
    assert filled.texts(".card .score") == [f"score {answer.score:.3f}" for answer in answers]
    assert filled.texts(".card .name") == [path.name for path in photos]
    refused = sum(bool(answer.is_ood) for answer in answers)
    summary = f"4 pictures: {4 - refused} named, {refused} none of these."
    assert filled.texts("#summary") == [summary]
    expect(filled.page.get_by_role("status").filter(has_text=summary)).to_have_count(1)


def test_atd_says_what_none_of_these_gets_and_what_the_best_class_keeps(filled, expect_of):
    expected = expect_of("atd")
    kept = (1 - expected.p_no) * expected.p_yes
    largest = kept[0].argmax()

    unknown, mass = 1 - expected.answers[0].score, float(kept[0, largest])
    assert unknown > mass
    assert filled.texts(".card .why")[0] == (
        f"“None of these” gets {unknown:.2f}, more than "
        f"“{expected.detector.class_names[largest]}” keeps after its no ({mass:.2f})."
    )
    unknown, mass = 1 - expected.answers[3].score, float(kept[3].max())
    assert filled.texts(".card .why")[3] == (
        f"“espresso” keeps {mass:.2f} after its no; “none of these” gets {unknown:.2f}."
    )


def test_ctw_says_how_strong_the_no_of_the_likeliest_class_is(filled, expect_of, photos):
    filled.role("combobox", "Score").select_option("ctw")
    filled.settle(len(photos))
    expected = expect_of("ctw")
    best = expected.p_yes.argmax(dim=-1)
    no = expected.p_no.gather(-1, best[:, None]).squeeze(-1)

    assert expected.answers[2].is_ood
    assert filled.texts(".card .why")[2] == (
        f"The no of “{expected.answers[2].best_class}” ({float(no[2]):.2f}) outweighs its yes: "
        "it is above 0.50."
    )
    assert filled.texts(".card .why")[3] == (
        f"The no of “espresso” ({float(no[3]):.2f}) does not outweigh its yes: "
        "it is not above 0.50."
    )


def test_bars_are_the_yes_and_the_no_of_the_likeliest_classes(filled, expect_of):
    expected = expect_of("atd")
    order = expected.p_yes[0].argsort(descending=True)[:3]
    table = filled.page.locator(".card").first.get_by_role("table")

    rows = [row.inner_text().split() for row in table.get_by_role("row").all()[1:]]

    assert rows == [
        [
            *expected.detector.class_names[index].split(),
            f"{float(expected.p_yes[0, index]):.2f}",
            f"{float(expected.p_no[0, index]):.2f}",
        ]
        for index in order
    ]
    shares = [
        float(share)
        for share in table.locator(".yes .bar").evaluate_all(
            "bars => bars.map(one => getComputedStyle(one).getPropertyValue('--share'))"
        )
    ]
    assert shares == pytest.approx(expected.p_yes[0, order].tolist(), abs=1e-4)


def test_the_line_refuses_at_once_and_without_asking_the_service(filled, expect_of):
    scores = [answer.score for answer in expect_of("atd").answers]
    before = filled.detections
    line = filled.role("slider", "Threshold on the score")

    line.press("Home")
    assert "none of these" not in filled.labels
    line.press("End")
    assert filled.labels == ["none of these"] * 4
    assert line.get_attribute("aria-valuetext") == "1.000: 4 of 4 pictures refused"
    filled.role("textbox", "Threshold").fill("0.5")
    filled.role("textbox", "Threshold").press("Enter")

    assert filled.labels == ["none of these", "espresso", "none of these", "espresso"]
    assert filled.texts(".card .why")[0] == (
        f"Closest is “tabby cat”, but the score {scores[0]:.3f} is below the threshold 0.500."
    )
    assert filled.role("radio", "a threshold").is_checked()
    assert filled.detections == before

    filled.role("radio", "its own rule").check(force=True)
    assert filled.labels == [answer.label for answer in expect_of("atd").answers]


def test_the_line_can_be_drawn_to_a_dot_and_then_has_its_score(filled, expect_of):
    scores = [answer.score for answer in expect_of("atd").answers]
    dots = [dot.bounding_box() for dot in filled.page.locator("#dots circle").all()]
    strip = filled.page.locator("#threshold").bounding_box()
    target = dots[2]  # the third lowest
    mouse = filled.page.mouse

    mouse.move(strip["x"] + strip["width"] / 2, strip["y"] + strip["height"] - 10)
    mouse.down()
    mouse.move(target["x"] + target["width"] / 2, strip["y"] + 20, steps=5)
    mouse.up()

    threshold = float(filled.role("textbox", "Threshold").input_value())
    assert threshold == pytest.approx(sorted(scores)[2], abs=0.004)
    named = [label != "none of these" for label in filled.labels]
    assert named == [score >= threshold for score in scores]
    refused = filled.page.locator("#dots circle.refused")
    assert refused.count() == named.count(False)


@pytest.mark.parametrize("score", ["msp", "max_logit", "energy", "mcm"])
def test_a_score_without_a_rule_is_decided_by_a_threshold(filled, expect_of, photos, score: str):
    filled.role("combobox", "Score").select_option(score)
    filled.settle(len(photos))

    threshold = float(filled.role("textbox", "Threshold").input_value())
    answers = expect_of(score, threshold).answers

    assert filled.role("radio", "its own rule").is_disabled()
    assert filled.role("radio", "a threshold").is_checked()
    if score == "msp":
        assert threshold == 0.5
    else:
        assert min(answers.scores) < threshold < max(answers.scores)
    assert filled.labels == [answer.label for answer in answers]


def test_a_score_that_was_asked_for_before_is_not_asked_for_again(filled, photos):
    choice = filled.role("combobox", "Score")
    choice.select_option("ctw")
    filled.settle(len(photos))
    before, labels = filled.detections, filled.labels

    choice.select_option("atd")
    choice.select_option("ctw")

    assert filled.labels == labels
    assert filled.detections == before


def test_the_table_has_the_present_answers(screen, class_names, photos, expect_of, tmp_path):
    odd = tmp_path / '=SUM(1), "x".png'
    odd.write_bytes(photos[1].read_bytes())
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    screen.type_classes(*class_names)
    screen.choose(*photos, odd, broken)
    screen.settle(6)
    screen.role("textbox", "Threshold").fill("0.2")
    screen.role("textbox", "Threshold").press("Enter")

    with screen.page.expect_download() as download:
        screen.role("button", "Download CSV").click()

    assert download.value.suggested_filename == "clipn.csv"
    content = Path(download.value.path()).read_bytes().decode("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(content, newline="")))
    answers = expect_of("atd", 0.2).answers
    expected = [*answers, answers[1]]
    assert [row["image"] for row in rows] == [
        *(path.name for path in photos), "'" + odd.name, "broken.jpg"
    ]  # fmt: skip
    assert [row["label"] for row in rows] == [*(answer.label for answer in expected), ""]
    assert [row["is_ood"] for row in rows] == [*(str(answer.is_ood) for answer in expected), ""]
    assert [float(row["score"]) for row in rows[:-1]] == pytest.approx(
        [answer.score for answer in expected], abs=1e-6
    )
    assert rows[-1]["score"] == ""
    assert rows[-1]["error"]
    assert {(row["score_name"], row["rule"], row["threshold"]) for row in rows} == {
        ("atd", "threshold", "0.2")
    }
    assert content.count("\r\n") == len(rows) + 1
