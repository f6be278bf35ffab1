"""The report as a browser shows it."""

from collections.abc import Iterator

import numpy as np
import pytest
from playwright.sync_api import Browser, Page

from clipn.data.image_sets import ImageSet
from clipn.report.evaluation import write_report

LONG = "a_very_long_name_without_any_blank_that_no_telephone_can_show_in_one_line"


@pytest.fixture
def address(measured, coloured_set, tmp_path) -> str:
    """A report of two suites, with long and hostile names, pictures and unreadable images."""
    generator = np.random.default_rng(0)
    inside = generator.random(25)
    inside[5] = np.nan
    evil = f"<script>document.title = 'broken'</script>{LONG}"
    sets: list[ImageSet] = [coloured_set("pets", 25), coloured_set("things", 20)]
    for score in ("atd", "msp", evil):
        measured.add(
            score,
            inside,
            {"things": 0.6 * generator.random(20), LONG: 0.8 * generator.random(30)},
            kinds={"things": "near", LONG: "far"},
            model=LONG,
            id_right=generator.random(25) < 0.8,
            own_rule_at=0.5,
            class_names=tuple(f"class {number} {LONG}" for number in range(40)),
        )
    measured.add("mcm", inside, {"SUN": 0.5 * generator.random(20)}, suite="imagenet-mos")
    path = tmp_path / "report.html"
    write_report(path, measured.results, measured.scores, images=sets, title="The whole report")
    return path.as_uri()


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    """The report in a window; whatever it asks for or complains about fails the test."""
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    page.set_default_timeout(120_000)
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: said.append(f"asked for {request.url[:100]}"))
    page.goto(address)
    yield page
    page.close()
    assert said == [f"asked for {address}"]


def _open_all(page: Page) -> None:
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")


def test_names_run_no_scripts(page: Page):
    assert page.title() == "The whole report"


@pytest.mark.parametrize("width", [390, 1400])
def test_nothing_is_wider_than_the_window(page: Page, width: int):
    page.set_viewport_size({"width": width, "height": 900})
    _open_all(page)

    assert page.evaluate("document.documentElement.scrollWidth") == width


def test_every_picture_and_every_curve_is_drawn(page: Page):
    _open_all(page)

    widths = page.evaluate("[...document.images].map(one => one.naturalWidth)")
    # Eight each: of three scores two sets of images are at hand, of the fourth one.
    assert widths == [16] * 8 * (3 * 2 + 1)
    boxes = page.evaluate(
        "[...document.querySelectorAll('.line, .area')].map(one => one.getBBox())"
        ".map(box => [box.x, box.y, box.x + box.width, box.y + box.height])"
    )
    # First suite: ROC and risk curves, histograms, reliability; second: a ROC curve, a histogram.
    assert len(boxes) == 3 * (2 + 1) + 3 * 2 * 2 + 3 + 1 + 2
    for left, top, right, bottom in boxes:
        assert 45.9 < left < right < 310.1
        assert 11.9 < top < bottom < 180.1


def test_pointing_at_a_score_dims_the_curves_of_the_others(page: Page):
    legend = page.locator(".curves .legend").first

    legend.get_by_text("msp").focus()

    page.wait_for_function(
        """() => {
            const curves = [...document.querySelector('.curves').querySelectorAll('.line')];
            const seen = curves.map(one => Number(getComputedStyle(one).opacity));
            return curves.every((one, i) => seen[i] === (one.matches('.k1') ? 1 : 0.1));
        }"""
    )


def test_a_score_opens_from_the_keyboard(page: Page):
    closed = page.locator("details:not([open])").first
    name = closed.locator("summary b").inner_text()

    closed.locator("summary").focus()
    page.keyboard.press("Enter")

    opened = page.locator("details[open]", has=page.get_by_text(name, exact=True)).last
    assert opened.locator("svg").first.is_visible()


def test_wide_tables_scroll_from_the_keyboard(page: Page):
    page.set_viewport_size({"width": 390, "height": 900})
    table = page.locator(".scroll").first

    table.focus()
    page.keyboard.press("End")
    for _ in range(5):
        page.keyboard.press("ArrowRight")

    page.wait_for_function("() => document.querySelector('.scroll').scrollLeft > 0")


@pytest.mark.parametrize(("scheme", "is_dark"), [("light", False), ("dark", True)])
def test_the_page_follows_the_colour_scheme(page: Page, scheme: str, is_dark: bool):
    page.emulate_media(color_scheme=scheme)  # pyright: ignore[reportArgumentType]

    background, text = page.evaluate(
        "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
    )

    assert (_brightness(background) < _brightness(text)) == is_dark
    assert abs(_brightness(background) - _brightness(text)) > 180


def _brightness(colour: str) -> float:
    red, green, blue = (int(part) for part in colour.removeprefix("rgb(").rstrip(")").split(","))
    return 0.3 * red + 0.6 * green + 0.1 * blue


def test_print_shows_what_is_closed_on_the_screen(page: Page):
    closed = page.locator("details:not([open]) .plots").first
    assert not closed.is_visible()

    page.emulate_media(media="print")

    assert closed.is_visible()
