"""Whatever is wrong is answered with a problem of its kind."""

import base64

import httpx
import pytest

from clipn.serving.torch_engine import TorchEngine

DOT = "R0lGODdhAQABAIABAP8AAP///ywAAAAAAQABAAACAkQBADs="


@pytest.mark.parametrize(
    ("method", "path", "status", "kind"),
    [
        ("GET", "/nothing", 404, "not-found"),
        ("GET", "/v1/classes/nothing", 404, "not-found"),
        ("GET", "/../schemas.py", 404, "not-found"),
        ("GET", "/v1/detect", 405, "method-not-allowed"),
        ("PATCH", "/v1/classes/pets", 405, "method-not-allowed"),
        ("POST", "/", 405, "method-not-allowed"),
        ("POST", "/v1/detect", 415, "unsupported-media-type"),
        ("PUT", "/v1/classes/-", 422, "invalid-request"),
    ],
)
def test_paths_and_methods(client, expect_problem, method, path, status: int, kind: str):
    answer = client.request(method, path)

    expect_problem(answer, status, kind)
    assert (status == 405) == ("Allow" in answer.headers)


def test_a_path_of_several_routes_names_all_its_methods(client):
    assert client.patch("/v1/classes/pets").headers["Allow"] == "DELETE, GET, PUT"
    assert client.post("/").headers["Allow"] == "GET, HEAD"


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (b"{", ""),
        (b"[]", ""),
        (b"\xff", ""),
        (b"{}", "/images"),
        (b'{"images": []}', "/images"),
        (b'{"images": [{"data": "?"}]}', "/images/0/data"),
        (b'{"images": [{"data": "AA"}]}', "/images/0/data"),
        (b'{"images": [{"url": "http://localhost/"}]}', "/images/0/data"),
        (f'{{"images": [{{"data": "{DOT}"}}], "top_k": "3"}}'.encode(), "/top_k"),
        (f'{{"images": [{{"data": "{DOT}"}}], "top_k": 0}}'.encode(), "/top_k"),
        (f'{{"images": [{{"data": "{DOT}"}}], "threshold": NaN}}'.encode(), "/threshold"),
        (f'{{"images": [{{"data": "{DOT}"}}], "score": "best"}}'.encode(), "/score"),
        (f'{{"images": [{{"data": "{DOT}"}}], "classes": [" cat"]}}'.encode(), "/classes/0"),
        (f'{{"images": [{{"data": "{DOT}"}}], "classes": ["a\\u0000"]}}'.encode(), "/classes/0"),
        (f'{{"images": [{{"data": "{DOT}"}}], "more": 1}}'.encode(), "/more"),
    ],
)
def test_a_wrong_place_of_json_is_pointed_at(client, expect_problem, body: bytes, pointer: str):
    answer = client.post(
        "/v1/detect", content=body, headers={"Content-Type": "application/json; charset=utf-8"}
    )

    problem = expect_problem(answer, 422, "invalid-request")
    assert pointer in [error["pointer"] for error in problem["errors"]]


@pytest.mark.parametrize(
    "fields",
    [
        {"top_k": "many"},
        {"top_k": ["1", "2"]},
        {"threshold": "nan"},
        {"classes": ["cat", "Cat "]},
        {"classes": ["cat", "CAT"]},
        {"images": "a text"},
        {"more": "1"},
    ],
)
def test_a_wrong_field_of_a_form_is_refused(client, detect, expect_problem, fields):
    expect_problem(detect(client, b"GIF", **fields), 422, "invalid-request")


def test_a_form_without_images_is_refused(client, expect_problem):
    answer = client.post("/v1/detect", files={"top_k": (None, "3")})

    problem = expect_problem(answer, 422, "invalid-request")
    assert problem["errors"][0]["pointer"] == "/images"


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=b", b""),
        ("multipart/form-data; boundary=b", b"no boundary"),
        ("multipart/form-data; boundary=b", b"--b\r\nContent-Disposition: form-data"),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="images"; filename="a"\r\n\r\nGIF',
        ),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="classes"\r\n\r\n\xff\r\n--b--\r\n',
        ),
        ("multipart/form-data; boundary=b", b"--b\r\nA: " + b"x" * 9000 + b"\r\n\r\n"),
    ],
)
def test_a_damaged_form_is_refused(client, expect_problem, content_type: str, body: bytes):
    answer = client.post("/v1/detect", content=body, headers={"Content-Type": content_type})

    expect_problem(answer, 400, "bad-request")


def test_a_failure_is_logged_and_tells_nothing(
    serve, detect, expect_problem, compact_model, caplog
):
    class BrokenEngine(TorchEngine):
        def encode(self, images):
            raise RuntimeError("the secret of the house")

    with serve(engine=BrokenEngine(compact_model)) as address, httpx.Client() as client:
        client.base_url = address
        answer = detect(client, bytes.fromhex("47494638376101"), classes="cat")
        assert answer.json()["answers"][0]["error"]  # an image that is none needs no tower
        answer = detect(client, base64.b64decode(DOT), classes="cat")

    expect_problem(answer, 500, "internal-error")
    assert "secret" not in answer.text
    assert "the secret of the house" in caplog.text


def test_a_request_id_is_kept_if_it_is_harmless(client):
    assert client.get("/healthz", headers={"X-Request-ID": "a-1"}).headers["X-Request-ID"] == "a-1"
    for odd in ("a b", "x" * 65, 'a"b'):
        answer = client.get("/healthz", headers={"X-Request-ID": odd})
        assert answer.headers["X-Request-ID"] != odd
