"""A detector with a promise: the page tells p-values where it explains, and in the table."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from drawings import make_images
from playwright.sync_api import expect

from clipn.detector import Detector
from clipn.model import CLIPN
from clipn.serving.torch_engine import TorchEngine, describe_detector


@pytest.fixture(scope="module")
def promising(compact_model: CLIPN, class_names) -> Detector:
    """Calibrated on drawings."""
    detector = Detector(compact_model, class_names, score="energy")
    detector.calibrate(make_images(39), method="conformal", alpha=0.1, per_class=False)
    return detector


@pytest.fixture(scope="module")
def address(serve, promising: Detector) -> Iterator[str]:
    """Where it is served."""
    engine = TorchEngine.from_detector(promising, name="promising")
    with serve(engine=engine, initial={"default": describe_detector(promising)}) as address:
        yield address


def test_p_values_are_told_beside_the_reason_and_in_the_table(screen, photos, promising: Detector):
    screen.choose(*photos)
    screen.settle(len(photos))
    p_values = promising.p_values(photos)

    reasons = screen.texts(".card .why")
    for reason, p_value in zip(reasons, p_values, strict=True):
        assert reason.endswith(f"Among the calibration pictures its p\u2011value is {p_value:.3f}.")
    with screen.page.expect_download() as download:
        screen.role("button", "Download CSV").click()

    text = Path(download.value.path()).read_bytes().decode("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert [float(row["p_value"]) for row in rows] == pytest.approx(p_values.tolist())


def test_other_classes_and_scores_have_none(screen, photos):
    screen.choose(*photos)
    screen.settle(len(photos))
    screen.role("combobox", "Score").select_option("atd")
    screen.settle(len(photos))
    assert "p\u2011value" not in "".join(screen.texts(".card .why"))
    screen.role("combobox", "Score").select_option("energy")
    expect(screen.page.locator(".card .why").first).to_contain_text("p\u2011value")
    screen.type_classes("espresso", "moon")
    expect(screen.page.locator(".card .why").first).not_to_contain_text("p\u2011value")


def test_thresholds_of_classes_decide_until_the_line_is_moved(
    serve, open_page, photos, compact_model: CLIPN, class_names
):
    scores = Detector(compact_model, class_names, score="energy").score(photos)
    # The cat and the rocket are far above theirs, the coffee and the retina below.
    bounds = {"espresso": 100.0}
    threshold = tuple(bounds.get(name, float(scores.min()) - 1) for name in class_names)
    detector = Detector(compact_model, class_names, score="energy", threshold=threshold)
    answers = detector.predict(photos)
    assert {answer.is_ood for answer in answers} == {True, False}
    engine = TorchEngine.from_detector(detector, name="by class")
    with serve(engine=engine, initial={"default": describe_detector(detector)}) as address:
        screen = open_page(address)
        expect(screen.page.locator("#sets")).to_have_value("default")
        screen.choose(*photos)
        screen.settle(len(photos))

        assert screen.labels == [answer.label for answer in answers]
        assert screen.role("radio", "its calibration").is_checked()
        for reason, answer in zip(screen.texts(".card .why"), answers, strict=True):
            limit = threshold[class_names.index(answer.best_class)]
            assert f"the threshold {limit:.2f}".replace("-", "\u2212") in reason
        with screen.page.expect_download() as download:
            screen.role("button", "Download CSV").click()
        text = Path(download.value.path()).read_bytes().decode("utf-8-sig")
        rows = list(csv.DictReader(io.StringIO(text, newline="")))
        assert [row["is_ood"] for row in rows] == [str(answer.is_ood) for answer in answers]
        assert {row["rule"] for row in rows} == {"threshold"}
        expected = [threshold[class_names.index(answer.best_class)] for answer in answers]
        np.testing.assert_allclose([float(row["threshold"]) for row in rows], expected)

        screen.role("textbox", "Threshold").fill("-100")
        screen.role("textbox", "Threshold").press("Enter")
        assert screen.labels == [answer.best_class for answer in answers]
        screen.role("radio", "its calibration").check(force=True)
        assert screen.labels == [answer.label for answer in answers]

        screen.type_classes("espresso", "moon")  # other classes have no thresholds
        expect(screen.role("radio", "its own rule")).to_be_disabled()
        screen.settle(len(photos))
