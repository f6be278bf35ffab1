"""Who can use the page: by keyboard, by screen reader, on a phone, in the dark."""

from pathlib import Path

import pytest
from playwright.sync_api import Locator, expect

LONG = "a_very_long_name_without_any_blank_that_no_telephone_can_show_in_one_line"
CONTROLS = {
    *("button", "textbox", "combobox", "slider", "radio", "link", "spinbutton", "image", "table"),
    *("dialog", "region", "progressbar", "article", "radiogroup", "group"),
}

# The contrast of every text that is seen, by WCAG 2.2; what is disabled is exempt there.
FAINT_TEXTS = """() => {
    const parse = colour => {
        const [r, g, b, a = 1] = colour.match(/[\\d.]+/g).map(Number);
        return {r, g, b, a};
    };
    const light = ({r, g, b}) => {
        const [x, y, z] = [r, g, b].map(v => v / 255)
            .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        return 0.2126 * x + 0.7152 * y + 0.0722 * z;
    };
    const behind = element => {
        for (let one = element; one; one = one.parentElement) {
            const colour = parse(getComputedStyle(one).backgroundColor);
            if (colour.a === 1) return colour;
        }
        return {r: 255, g: 255, b: 255};
    };
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    const seen = [], faint = [];
    while (walker.nextNode()) {
        const element = walker.currentNode.parentElement;
        if (!walker.currentNode.data.trim() || !element.checkVisibility()) continue;
        if (element.closest("noscript, option, label:has(:disabled)")) continue;
        const one = light(parse(getComputedStyle(element).color));
        const other = light(behind(element));
        const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
        seen.push(ratio);
        if (ratio < 4.5) faint.push(`${walker.currentNode.data.trim()}: ${ratio.toFixed(2)}`);
    }
    return [seen.length, faint];
}"""


def test_everything_is_done_by_keyboard_and_the_focus_is_always_seen(screen, photos):
    page, keyboard = screen.page, screen.page.keyboard
    # What the operating system's dialog would do; the browser has to know of it beforehand.
    page.on("filechooser", lambda chooser: chooser.set_files(photos))

    def walk_to(target: Locator) -> None:
        for _ in range(30):
            keyboard.press("Tab")
            assert page.evaluate(
                """() => {
                    const one = document.activeElement;
                    const drawn = one.type === "radio" ? one.nextElementSibling : one;
                    return getComputedStyle(drawn).outlineStyle !== "none";
                }"""
            )
            if target.evaluate("one => one === document.activeElement"):
                return
        raise AssertionError(f"{target} is not reached by the tabulator key")

    walk_to(screen.role("textbox", "Classes"))
    keyboard.type("tabby cat, espresso")
    walk_to(page.get_by_role("button", name="Choose pictures"))
    keyboard.press("Enter")
    screen.settle(4)

    walk_to(screen.role("combobox", "Score"))
    keyboard.type("CTW")
    screen.settle(4)
    assert page.locator("#score").input_value() == "ctw"
    walk_to(screen.role("radio", "its own rule"))
    keyboard.press("ArrowRight")
    assert screen.role("radio", "a threshold").is_checked()
    walk_to(screen.role("slider", "Threshold on the score"))
    keyboard.press("End")
    assert screen.labels == ["none of these"] * 4
    walk_to(screen.role("button", "Download CSV"))
    with page.expect_download():
        keyboard.press("Enter")
    walk_to(screen.role("button", "Remove coffee.png"))
    keyboard.press("Enter")
    keyboard.press("Enter")
    assert screen.texts(".card .name") == ["chelsea.png", "retina.jpg"]
    expect(screen.role("button", "Remove retina.jpg")).to_be_focused()


def test_the_first_key_leads_past_the_controls(filled):
    filled.page.reload()
    filled.page.keyboard.press("Tab")
    expect(filled.role("link", "Skip to the results")).to_be_focused()

    filled.page.keyboard.press("Enter")

    expect(filled.page.locator("#results")).to_be_focused()


def test_every_control_has_a_name_for_a_screen_reader(filled):
    session = filled.page.context.new_cdp_session(filled.page)
    session.send("Accessibility.enable")

    nodes = [
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in session.send("Accessibility.getFullAXTree")["nodes"]
        if not node["ignored"]
    ]

    named = [(role, name) for role, name in nodes if role in CONTROLS and name]
    assert [role for role, name in nodes if role in CONTROLS and not name] == []
    assert ("slider", "Threshold on the score") in named
    assert ("article", "chelsea.png none of these") in named
    assert ("image", "chelsea.png") in named
    assert ("group", "Decided by") in named or ("radiogroup", "Decided by") in named
    assert named.count(("table", "Yes and no of the likeliest classes")) == 4


def test_a_screen_reader_hears_of_results_and_problems(filled):
    box = filled.role("textbox", "Classes")

    assert filled.page.locator("#said").get_attribute("role") == "status"
    assert filled.page.locator("#notice").get_attribute("role") == "alert"
    assert box.get_attribute("aria-describedby") == "classes-hint classes-count"
    filled.role("slider", "Threshold on the score").press("End")
    expect(filled.page.locator("#said")).to_have_text("4 pictures: 0 named, 4 none of these.")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_stands_out_from_what_is_behind_it(
    open_page, photos, class_names, scheme: str, tmp_path: Path
):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    screen = open_page(color_scheme=scheme)
    assert screen.page.evaluate(FAINT_TEXTS)[1] == []

    screen.type_classes(*class_names)
    screen.choose(*photos, broken)
    screen.settle(5)

    num_texts, faint = screen.page.evaluate(FAINT_TEXTS)
    assert faint == []
    assert num_texts > 60
    red = screen.page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0]")
    assert (int(red) < 100) == (scheme == "dark")


@pytest.mark.parametrize("width", [360, 768, 1400])
def test_nothing_is_wider_than_the_window(open_page, photos, tmp_path, width: int):
    file = tmp_path / f"{LONG}.png"
    file.write_bytes(photos[0].read_bytes())
    screen = open_page(
        viewport={"width": width, "height": 760}, is_mobile=width < 700, has_touch=width < 700
    )

    def overhang() -> int:
        return screen.page.evaluate("document.documentElement.scrollWidth") - width

    assert overhang() == 0
    screen.type_classes(LONG, "espresso", "tabby cat")
    screen.choose(*photos, file)
    screen.settle(5)
    assert overhang() == 0
    for score in ("ctw", "energy"):
        screen.page.locator("#score").select_option(score)
        screen.settle(5)
        assert overhang() == 0


def test_targets_are_large_enough_for_a_thumb(open_page, photos, class_names):
    screen = open_page(viewport={"width": 360, "height": 760}, is_mobile=True, has_touch=True)
    screen.type_classes(*class_names)
    screen.choose(*photos)
    screen.settle(4)

    small = screen.page.evaluate(
        """() => [...document.querySelectorAll("button, select, input, textarea")]
            .filter(one => one.checkVisibility())
            .map(one => [one.id || one.className, one.getBoundingClientRect()])
            .filter(([, box]) => box.width < 36 || box.height < 36)
            .map(([name]) => name)"""
    )

    assert small == []


def test_nothing_moves_where_that_is_not_wanted(open_page):
    screen = open_page(reduced_motion="reduce")

    durations = screen.page.evaluate(
        "[...document.querySelectorAll('button')].map(one => getComputedStyle(one).transition)"
    )

    assert set(durations) == {"none"}
