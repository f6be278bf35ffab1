"""How class names and pictures get into the page: typed, chosen, dropped, pasted, photographed."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import expect

from clipn.serving.schemas import ClassSetContent
from clipn.serving.torch_engine import TorchEngine

DRAW_TO_CLIPBOARD = """async () => {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [40, 30];
    const pen = canvas.getContext("2d");
    pen.fillStyle = "teal";
    pen.fillRect(0, 0, 40, 30);
    const blob = await new Promise(resolve => canvas.toBlob(resolve, "image/png"));
    await navigator.clipboard.write([new ClipboardItem({"image/png": blob})]);
}"""

COUNT_ADDRESSES = """
    window.alive = new Set();
    const [create, revoke] = [URL.createObjectURL, URL.revokeObjectURL];
    URL.createObjectURL = blob => {
        const address = create(blob);
        window.alive.add(address);
        return address;
    };
    URL.revokeObjectURL = address => { window.alive.delete(address); revoke(address); };
"""


def test_changed_class_names_are_asked_for_while_one_types(filled, photos):
    box = filled.role("textbox", "Classes")

    box.press("ControlOrMeta+End")
    box.press_sequentially(", eye")

    expect(filled.page.locator("#classes-count")).to_have_text("6 classes")
    filled.settle(len(photos))
    assert filled.page.evaluate("document.activeElement.id") == "classes"
    assert filled.detections == 2


@pytest.mark.parametrize(
    ("typed", "names"),
    [
        ("tabby cat, espresso,\n  school bus  ,,\n", ["tabby cat", "espresso", "school bus"]),
        ("Espresso, espresso, ESPRESSO\npizza", ["Espresso", "pizza"]),
        ('"crane, a bird", crane\n"crane"', ["crane, a bird", "crane"]),
        ('tabby\tcat\r\n5" disk, größe, 猫', ["tabby cat", '5" disk', "größe", "猫"]),
    ],
)
def test_class_names_are_split_by_commas_and_lines(screen, photos, typed: str, names: list[str]):
    screen.choose(photos[0])
    with screen.page.expect_response("**/v1/detect") as response:
        screen.role("textbox", "Classes").fill(typed)

    (answer,) = response.value.json()["answers"]
    assert sorted(one["name"] for one in answer["classes"]) == sorted(names)
    screen.settle(1)


def test_pictures_wait_for_class_names(screen, photos):
    screen.choose(*photos[:2])

    expect(screen.page.locator(".card .label")).to_have_text(["waiting for class names"] * 2)
    assert screen.texts("#summary") == ["2 pictures: class names are missing."]
    assert screen.detections == 0

    screen.type_classes("espresso", "pizza")
    screen.settle(2)


def _drop(screen, *paths: Path) -> None:
    """Drop files from outside the browser onto the middle of the page."""
    session = screen.page.context.new_cdp_session(screen.page)
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        session.send("Input.dispatchDragEvent", {"type": kind, "x": 300, "y": 500, "data": data})
        if kind == "dragOver":
            expect(screen.page.locator("body.dragging")).to_have_count(1)
    expect(screen.page.locator("body.dragging")).to_have_count(0)


def test_files_are_dropped_anywhere(screen, photos, class_names):
    screen.type_classes(*class_names)

    _drop(screen, photos[0], photos[1])

    screen.settle(2)
    assert screen.texts(".card .name") == ["chelsea.png", "coffee.png"]
    assert screen.labels[1] == "espresso"


def test_the_pictures_of_a_folder_are_dropped_and_nothing_else_of_it(
    screen, photos, class_names, tmp_path
):
    (tmp_path / "photos" / "more").mkdir(parents=True)
    for name in ("photo 10.png", "photo 9.png", "more/deep.png"):
        (tmp_path / "photos" / name).write_bytes(photos[0].read_bytes())
    (tmp_path / "photos" / "notes.txt").write_text("no picture")
    screen.type_classes(*class_names)

    _drop(screen, tmp_path / "photos")

    screen.settle(3)
    assert screen.texts(".card .name") == ["deep.png", "photo 9.png", "photo 10.png"]


def test_pictures_are_pasted_by_key_and_by_button(screen, class_names):
    screen.type_classes(*class_names)
    screen.page.evaluate(DRAW_TO_CLIPBOARD)

    screen.page.keyboard.press("ControlOrMeta+v")
    screen.settle(1)
    screen.role("button", "Paste").click()

    screen.settle(2)
    assert screen.texts(".card .name") == ["pasted-1.png", "pasted-2.png"]


def test_text_is_pasted_as_class_names(screen):
    screen.page.evaluate("navigator.clipboard.writeText('espresso\\npizza')")
    screen.role("textbox", "Classes").focus()

    screen.page.keyboard.press("ControlOrMeta+v")

    expect(screen.page.locator("#classes-count")).to_have_text("2 classes")
    screen.role("button", "Paste").click()
    expect(screen.page.get_by_role("alert").filter(has_text="No picture")).to_be_visible()


def test_the_camera_takes_a_picture_and_is_let_go(open_page, class_names):
    screen = open_page(
        before="""
        const ask = MediaDevices.prototype.getUserMedia;
        MediaDevices.prototype.getUserMedia = async function (wish) {
            return window.stream = await ask.call(this, wish);
        };"""
    )
    screen.type_classes(*class_names)

    screen.role("button", "Camera").click()
    expect(screen.role("dialog", "Camera")).to_be_visible()
    expect(screen.role("button", "Take a picture")).to_be_focused()
    screen.page.keyboard.press("Enter")

    screen.settle(1)
    assert screen.texts(".card .name") == ["camera-1.jpg"]
    expect(screen.role("dialog", "Camera")).not_to_be_visible()
    assert screen.page.evaluate("window.stream.getTracks().map(one => one.readyState)") == ["ended"]


def test_a_camera_that_is_not_allowed_is_said(open_page):
    screen = open_page(
        before="""MediaDevices.prototype.getUserMedia = () =>
            Promise.reject(new DOMException("no", "NotAllowedError"));"""
    )

    screen.role("button", "Camera").click()

    expect(screen.role("dialog", "Camera").get_by_role("alert")).to_have_text(
        "The browser was not allowed to use the camera."
    )
    screen.page.keyboard.press("Escape")
    expect(screen.role("button", "Camera")).to_be_focused()


def test_what_the_browser_cannot_do_is_not_offered(open_page):
    screen = open_page(
        before="""
        Object.defineProperty(navigator, "mediaDevices", {value: undefined});
        Object.defineProperty(navigator, "clipboard", {value: undefined});"""
    )

    expect(screen.role("button", "Camera")).to_have_count(0)
    expect(screen.role("button", "Paste")).to_have_count(0)


def test_removed_pictures_are_let_go(open_page, photos: Sequence[Path], class_names):
    screen = open_page(before=COUNT_ADDRESSES)
    screen.type_classes(*class_names)
    screen.choose(*photos)
    screen.settle(4)
    assert screen.page.evaluate("window.alive.size") == 4

    screen.role("button", "Remove coffee.png").click()

    assert screen.texts(".card .name") == ["chelsea.png", "rocket.jpg", "retina.jpg"]
    expect(screen.role("button", "Remove rocket.jpg")).to_be_focused()
    assert screen.page.evaluate("window.alive.size") == 3
    screen.role("button", "Remove all").click()
    expect(screen.page.locator(".card")).to_have_count(0)
    expect(screen.page.get_by_role("button", name="Choose pictures")).to_be_focused()
    assert screen.page.evaluate("window.alive.size") == 0


def test_files_stay_in_memory(screen, photos, class_names, tmp_path):
    copy = tmp_path / "copy.png"
    copy.write_bytes(photos[1].read_bytes())
    screen.type_classes(*class_names)
    screen.choose(copy)
    screen.settle(1)

    copy.unlink()
    screen.type_classes("pizza", "espresso")

    screen.settle(1)
    assert screen.labels == ["espresso"]


def test_classes_that_cannot_be_others_are_shown_and_not_typed(
    open_page, serve, compact_model, class_names, photos
):
    engine = TorchEngine(compact_model)
    engine.info = replace(engine.info, class_names=tuple(class_names))
    content = ClassSetContent(classes=list(class_names), score=None, rule=None, threshold=None)
    with serve(engine=engine, initial={"default": content}) as address:
        screen = open_page(address)
        box = screen.role("textbox", "Classes")

        expect(box).to_have_value("\n".join(class_names))
        expect(box).to_have_attribute("readonly", "")
        screen.choose(photos[1])

        screen.settle(1)
        assert screen.labels == ["espresso"]
