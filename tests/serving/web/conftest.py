"""The service's page in a real browser, on a real server with the compact model."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

MILLISECONDS = 60_000  # a browser beside other tests is slow, and nothing here measures it
expect.set_options(timeout=MILLISECONDS)


@pytest.fixture(scope="session")
def address(serve: Callable[..., AbstractContextManager[str]]) -> Iterator[str]:
    """Where the application is served as it comes, without any class set."""
    with serve() as address:
        yield address


@dataclass(frozen=True, kw_only=True)
class Screen:
    """The page as somebody uses it."""

    page: Page
    asked: list[str]
    """The path of every request to the service."""
    complaints: list[str]
    """What the browser complained about; a test that expects some takes them out."""

    def role(self, role: Any, name: str) -> Locator:
        """A control by its accessible name."""
        return self.page.get_by_role(role, name=name, exact=True)

    def type_classes(self, *names: str) -> None:
        box = self.role("textbox", "Classes")
        box.fill("\n".join(names))
        box.blur()

    def choose(self, *files: Path) -> None:
        self.page.set_input_files("#files", files)

    def settle(self, num_cards: int) -> None:
        """Wait until so many cards are there and none waits for an answer."""
        expect(self.page.locator(".card:not([aria-busy])")).to_have_count(num_cards)
        expect(self.page.locator(".card[aria-busy]")).to_have_count(0)

    def texts(self, selector: str) -> list[str]:
        return self.page.locator(selector).all_inner_texts()

    @property
    def labels(self) -> list[str]:
        return self.texts(".card .label")

    @property
    def detections(self) -> int:
        """How many requests for answers there were."""
        return self.asked.count("POST /v1/detect")


def _open(browser: Browser, address: str, before: str, **options: Any) -> Screen:
    page = browser.new_page(**options)
    page.set_default_timeout(MILLISECONDS)
    screen = Screen(page=page, asked=[], complaints=[])
    page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=address)

    def note(request: Any) -> None:
        url = request.url.removeprefix("blob:")
        if not url.startswith(address):
            screen.complaints.append(f"asked for {url[:100]}")
        elif url == request.url:
            screen.asked.append(f"{request.method} /{url.removeprefix(address)}")

    page.on("request", note)
    page.on("pageerror", lambda error: screen.complaints.append(str(error)))
    page.on(
        "console",
        lambda message: (
            screen.complaints.append(message.text) if message.type in ("error", "warning") else None
        ),
    )
    if before:
        page.add_init_script(before)
    page.goto(address)
    return screen


Open = Callable[..., Screen]


@pytest.fixture
def open_page(browser: Browser, address: str) -> Iterator[Open]:
    """Opens the page; whatever it asks for elsewhere or complains about fails the test."""
    screens: list[Screen] = []

    def open_page(address: str = address, *, before: str = "", **options: Any) -> Screen:
        screens.append(_open(browser, address, before, **options))
        return screens[-1]

    yield open_page
    for screen in screens:
        screen.page.context.close()
    assert [screen.complaints for screen in screens] == [[] for _ in screens]


@pytest.fixture
def screen(open_page: Open) -> Screen:
    """The page, empty, once it knows what the service can do."""
    screen = open_page()
    expect(screen.page.locator("#about")).not_to_be_empty()
    return screen


@pytest.fixture
def filled(screen: Screen, photos: Sequence[Path], class_names: Sequence[str]) -> Screen:
    """The page with five classes and answers for the four photographs."""
    screen.type_classes(*class_names)
    screen.choose(*photos)
    screen.settle(len(photos))
    return screen
