"""What the page says when something is wrong, and that names of any kind do no harm."""

import pytest
from playwright.sync_api import Locator, Route, expect
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from clipn.serving.schemas import Problem

EVIL = "<img src=x onerror=document.title='broken'>"


def _problem(status: int, detail: str, **headers: str):
    """A handler that answers as the service does when it has a problem, once."""
    problem = Problem(
        type="urn:clipn:problem:test", title="Test", status=status, detail=detail, request_id="test"
    )

    def answer(route: Route) -> None:
        route.fulfill(
            status=status,
            headers={"Content-Type": "application/problem+json"} | headers,
            body=problem.model_dump_json(),
        )

    return answer


def _notice(screen) -> Locator:
    return screen.page.locator("#notice")


def _take_complaint(screen, status: int) -> None:
    """The browser itself complains about every answer that is an error."""
    (complaint,) = screen.complaints
    assert f"status of {status}" in complaint
    screen.complaints.clear()


def test_names_are_shown_as_text_whatever_they_hold(screen, photos, tmp_path):
    title = screen.page.title()
    file = tmp_path / f"{EVIL}.png"
    file.write_bytes(photos[0].read_bytes())
    screen.type_classes(EVIL, f"{EVIL} & <b>more</b>")
    screen.choose(file)
    screen.settle(1)
    screen.role("radio", "a threshold").check(force=True)
    screen.role("slider", "Threshold on the score").press("Home")

    assert screen.labels[0].startswith(EVIL)
    assert screen.texts(".card .name") == [f"{EVIL}.png"]
    assert EVIL in screen.texts(".card table")[0]
    assert screen.page.locator("img[src=x], b").count() == 0
    assert screen.page.title() == title


def test_the_page_works_under_a_policy_that_allows_nothing_inline(screen):
    response = screen.page.request.get(screen.page.url)

    policy = {
        directive.split()[0]: directive.split()[1:]
        for directive in response.headers["content-security-policy"].split(";")
    }
    assert policy["default-src"] == ["'self'"]
    assert set(policy["img-src"]) <= {"'self'", "blob:", "data:"}
    assert "unsafe" not in str(policy)
    files = [path for path in screen.asked if not path.startswith("GET /v1")]
    assert {"GET /", "GET /app.js", "GET /style.css"} <= set(files)


def test_an_unreadable_file_says_so_on_its_card_and_the_others_are_answered(
    screen, photos, class_names, tmp_path
):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    empty = tmp_path / "empty.png"
    empty.touch()
    screen.type_classes(*class_names)

    screen.choose(broken, photos[1], empty)

    screen.settle(3)
    assert screen.labels == ["no answer", "espresso", "no answer"]
    assert all(screen.texts(".card .why"))
    assert screen.texts("#summary") == [
        "3 pictures: 1 named, 0 none of these, 2 without an answer."
    ]
    expect(_notice(screen)).to_be_hidden()


def test_a_refused_request_is_explained_and_asked_again_on_demand(screen, photos, class_names):
    screen.page.route("**/v1/detect", _problem(422, "A class name is odd."), times=1)
    screen.type_classes(*class_names)
    screen.choose(photos[1])

    expect(_notice(screen)).to_contain_text("The service did not accept this")
    expect(_notice(screen)).to_contain_text("A class name is odd.")
    assert screen.labels == ["no answer yet"]
    _take_complaint(screen, 422)
    screen.role("button", "Try again").click()

    screen.settle(1)
    assert screen.labels == ["espresso"]
    expect(_notice(screen)).to_be_hidden()


@pytest.mark.parametrize("seconds", ["0", "3600"])
def test_a_busy_service_is_asked_again_when_it_says_or_on_demand(
    screen, photos, class_names, seconds: str
):
    busy = _problem(503, "64 requests wait already.", **{"Retry-After": seconds})
    screen.page.route("**/v1/detect", busy, times=1)
    screen.type_classes(*class_names)
    screen.choose(photos[1])

    if seconds == "3600":
        expect(_notice(screen)).to_contain_text("64 requests wait already.")
        expect(_notice(screen)).to_contain_text("It is asked again in 3600 s.")
        screen.role("button", "Ask now").click()

    screen.settle(1)
    assert screen.labels == ["espresso"]
    assert screen.detections == 2
    expect(_notice(screen)).to_be_hidden()
    _take_complaint(screen, 503)


def test_changed_class_names_end_the_waiting(screen, photos, class_names):
    busy = _problem(503, "Wait.", **{"Retry-After": "3600"})
    screen.page.route("**/v1/detect", busy, times=1)
    screen.type_classes("pizza")
    screen.choose(photos[1])
    expect(_notice(screen)).to_contain_text("It is asked again")

    screen.type_classes(*class_names)

    screen.settle(1)
    assert screen.labels == ["espresso"]
    _take_complaint(screen, 503)


def test_a_service_that_is_gone_is_said_and_asked_again_on_demand(screen, photos, class_names):
    screen.page.route("**/v1/detect", lambda route: route.abort("connectionrefused"), times=1)
    screen.type_classes(*class_names)
    screen.choose(photos[1])

    expect(_notice(screen)).to_contain_text("The service cannot be reached")
    screen.complaints.clear()
    screen.role("button", "Try again").click()

    screen.settle(1)
    assert screen.labels == ["espresso"]


def test_a_token_is_asked_for_and_kept_in_memory_only(open_page, serve, photos, class_names):
    with serve(token="sesame") as address:
        screen = open_page(address)
        form = screen.page.locator("#token-form")
        box = screen.role("textbox", "This service wants a token")
        expect(box).to_be_focused()
        box.fill("wrong")
        box.press("Enter")
        expect(form).to_contain_text("The service refused that token.")

        box.fill("sesame")
        box.press("Enter")

        expect(form).to_be_hidden()
        screen.type_classes(*class_names)
        screen.choose(photos[1])
        screen.settle(1)
        assert screen.labels == ["espresso"]
        kept = screen.page.evaluate(
            "[localStorage.length, sessionStorage.length, document.cookie, location.href]"
        )
        assert kept == [0, 0, "", address]
        assert len(screen.complaints) == 2
        assert all("status of 401" in complaint for complaint in screen.complaints)
        screen.complaints.clear()


def test_pictures_go_in_requests_within_the_limits(open_page, serve, photos, class_names):
    sizes = sorted(path.stat().st_size for path in photos)
    with serve(images=2, image_bytes=sizes[-1] - 1) as address:
        screen = open_page(address)
        screen.type_classes(*class_names)

        screen.choose(*photos)

        screen.settle(4)
        assert screen.detections == 2
        assert screen.labels.count("no answer") == 1
        (reason,) = [text for text in screen.texts(".card .why") if "MB" in text]
        assert reason.startswith(f"It has {sizes[-1] / 1e6:.2f} MB; the service takes up to ")


class SmallProxy:
    """Something in front of the service that takes less than the service itself."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        length = int(Headers(scope=scope).get("Content-Length", 0)) if "headers" in scope else 0
        app = self._app if length < 400_000 else PlainTextResponse("Too large.", 413)
        await app(scope, receive, send)


def test_a_proxy_that_takes_less_gets_less(open_page, serve, photos, class_names):
    with serve(behind=SmallProxy) as address:
        screen = open_page(address)
        screen.type_classes(*class_names)

        screen.choose(*photos)

        screen.settle(4)
        small = [path.stat().st_size < 390_000 for path in photos]
        assert 0 < small.count(True) < 4
        assert [label != "no answer" for label in screen.labels] == small
        (why,) = set(screen.texts("[data-kind=failed] .why"))
        assert why.startswith("Too much for the service.")
        assert all("status of 413" in complaint for complaint in screen.complaints)
        screen.complaints.clear()


def test_limits_of_class_names_are_said_where_they_are_typed(screen, photos):
    screen.choose(photos[0])

    screen.type_classes(*(f"class {number}" for number in range(1001)))

    expect(screen.page.locator("#classes-count")).to_contain_text("the service takes up to 1000")
    assert screen.role("textbox", "Classes").get_attribute("aria-invalid") == "true"
    assert screen.detections == 0
