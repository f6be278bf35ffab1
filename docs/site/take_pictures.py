"""Takes the pictures of the tour: real pages in Chromium, with images that are drawn here.

python docs/site/take_pictures.py

Needs `pip install "clipn[dev]"` and Debian's chromium.
"""

import random
import shutil
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from PIL import Image, ImageDraw
from playwright.sync_api import Page, expect, sync_playwright

from clipn.benchmarks import EvaluationOptions, SetSpec, Suite, evaluate
from clipn.benchmarks.layouts import Folders
from clipn.benchmarks.results import read_scores
from clipn.detector import Detector
from clipn.model import load_model
from clipn.report.evaluation import write_report
from clipn.report.pictures import write_picture_page
from clipn.serving.app import create_app
from clipn.serving.server import serve_in_thread
from clipn.serving.torch_engine import TorchEngine

PICTURES = Path(__file__).parents[1] / "pictures"
SIZE = 256
CLASSES = ("orange", "school bus", "umbrella")
MILLISECONDS = 300_000


# What is drawn


def draw_orange(draw: ImageDraw.ImageDraw, chance: random.Random) -> None:
    """A round fruit with a leaf."""
    left, top = chance.randint(30, 60), chance.randint(50, 80)
    draw.ellipse((left, top, left + 150, top + 150), fill=(240, 140, 20))
    draw.ellipse((left + 35, top + 30, left + 65, top + 55), fill=(255, 190, 90))
    draw.polygon([(left + 75, top), (left + 120, top - 30), (left + 105, top + 8)], fill="#2e7d32")


def draw_bus(draw: ImageDraw.ImageDraw, chance: random.Random) -> None:
    """A yellow box with windows and wheels."""
    left, top = chance.randint(15, 40), chance.randint(70, 100)
    draw.rounded_rectangle((left, top, left + 190, top + 90), 12, fill=(250, 190, 20))
    for row in range(4):
        x = left + 12 + 44 * row
        draw.rectangle((x, top + 14, x + 34, top + 44), fill=(70, 90, 110))
    draw.line((left, top + 58, left + 190, top + 58), fill="black", width=4)
    for x in (left + 25, left + 130):
        draw.ellipse((x, top + 72, x + 36, top + 108), fill=(30, 30, 30))


def draw_umbrella(draw: ImageDraw.ImageDraw, chance: random.Random) -> None:
    """A half circle on a stick."""
    left, top = chance.randint(25, 55), chance.randint(40, 70)
    color = chance.choice(["#c62828", "#1565c0", "#6a1b9a"])
    draw.pieslice((left, top, left + 170, top + 170), 180, 360, fill=color)
    draw.line((left + 85, top + 80, left + 85, top + 170), fill="#4e342e", width=7)
    draw.arc((left + 55, top + 150, left + 89, top + 190), 0, 180, fill="#4e342e", width=7)


def draw_stripes(draw: ImageDraw.ImageDraw, chance: random.Random) -> None:
    """Stripes, which show none of the classes."""
    width = chance.randint(12, 40)
    for x in range(0, 2 * SIZE, 2 * width):
        draw.polygon(
            [(x, 0), (x + width, 0), (x + width - SIZE, SIZE), (x - SIZE, SIZE)], "#455a64"
        )


def draw_dots(draw: ImageDraw.ImageDraw, chance: random.Random) -> None:
    """Dots, which show none of the classes."""
    for _ in range(40):
        x, y, radius = chance.randint(0, SIZE), chance.randint(0, SIZE), chance.randint(4, 18)
        draw.ellipse((x, y, x + radius, y + radius), fill="#ad1457")


DRAWINGS: dict[str, Callable[[ImageDraw.ImageDraw, random.Random], None]] = {
    "orange": draw_orange,
    "school bus": draw_bus,
    "umbrella": draw_umbrella,
    "stripes": draw_stripes,
    "dots": draw_dots,
}


def draw_image(path: Path, what: str, *, seed: int) -> Path:
    """Draw one image on a background that fades from light to dark."""
    chance = random.Random(seed)
    image = Image.new("RGB", (SIZE, SIZE))
    draw = ImageDraw.Draw(image)
    shade = chance.randint(170, 235)
    for y in range(SIZE):
        draw.line((0, y, SIZE, y), fill=(shade - y // 5, shade - y // 6, shade - y // 8))
    DRAWINGS[what](draw, chance)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
    return path


# What is shown


def make_suite() -> Suite:
    """The drawn classes against the drawn patterns."""
    make = partial(SetSpec, num_images=None, citation="none", where="docs/site/take_pictures.py")
    return Suite(
        name="drawings",
        title="Drawn things against drawn patterns",
        citation="none",
        id_set=make(
            name="things", kind="id", layouts=(Folders(folders=("things",), holds="classes"),)
        ),
        ood_sets=tuple(
            make(name=name, kind="far", layouts=(Folders(folders=(name,), holds="images"),))
            for name in ("stripes", "dots")
        ),
        class_names=CLASSES,
    )


def write_pages(folder: Path) -> tuple[list[Path], Path, Path]:
    """Images, the page of `clipn demo` about them, and the report of a suite made of them."""
    model = load_model("compact")
    images = [draw_image(folder / f"{what}.png", what, seed=4) for what in DRAWINGS]
    answers = Detector(model, CLASSES).predict(images)
    page = folder / "pictures.html"
    write_picture_page(page, answers, images, CLASSES, title="clipn: one of these classes, or none")
    for what in DRAWINGS:
        place = folder / "data" / ("things/" if what in CLASSES else "") / what
        for seed in range(20):
            draw_image(place / f"{seed:02d}.png", what, seed=seed)
    results = folder / "results"
    found = evaluate(
        model,
        make_suite(),
        data_root=folder / "data",
        out_dir=results,
        scores=("ctw", "atd", "msp", "energy"),
        options=EvaluationOptions(num_resamples=200),
    )
    report = folder / "report.html"
    write_report(
        report,
        list(found.results),
        lambda result: read_scores(results, result),
        images=list(found.sets),
        title="Out-of-distribution detection",
    )
    return images, page, report


def use_service(page: Page, images: list[Path]) -> None:
    """Ask the page about the images, then move its threshold; a picture of both."""
    box = page.get_by_role("textbox", name="Classes", exact=True)
    box.fill("\n".join(CLASSES))
    box.blur()
    page.set_input_files("#files", images)
    expect(page.locator(".card:not([aria-busy])")).to_have_count(len(images))
    page.screenshot(path=PICTURES / "service.png", full_page=True)
    page.get_by_role("radio", name="a threshold", exact=True).check()
    page.get_by_role("textbox", name="Threshold", exact=True).fill("0.9")
    page.keyboard.press("Enter")
    page.screenshot(path=PICTURES / "threshold.png", full_page=True)


def main() -> None:
    """Take all pictures."""
    chromium = shutil.which("chromium")
    if chromium is None:
        raise SystemExit("chromium is absent: apt install chromium")
    PICTURES.mkdir(exist_ok=True)
    app = create_app(TorchEngine(load_model("compact")))
    with (
        tempfile.TemporaryDirectory() as name,
        serve_in_thread(app) as address,
        sync_playwright() as driver,
    ):
        images, pictures, report = write_pages(Path(name))
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1000, "height": 700})
        page.set_default_timeout(MILLISECONDS)
        expect.set_options(timeout=MILLISECONDS)
        for path, target in ((pictures, "pictures.png"), (report, "report.png")):
            page.goto(path.as_uri())
            page.screenshot(path=PICTURES / target)
        page.goto(address)
        use_service(page, images)
        browser.close()


if __name__ == "__main__":
    main()
