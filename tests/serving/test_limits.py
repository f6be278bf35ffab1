"""What is too much is refused, as early as it can be known."""

import base64
import io
import socket
import struct
import zlib
from collections.abc import Iterator

import httpx
import pytest
from PIL import Image

MIB = 1 << 20
LIMITS = {
    "body_bytes": MIB,
    "image_bytes": MIB // 2,
    "image_pixels": 10_000,
    "images": 3,
    "classes": 4,
    "name_length": 8,
    "class_sets": 2,
}


@pytest.fixture(scope="module")
def small(serve) -> Iterator[httpx.Client]:
    """A service that takes little."""
    with serve(**LIMITS) as address, httpx.Client(base_url=address, timeout=60) as client:
        yield client


def encode(width: int, height: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height)).save(buffer, "PNG")
    return buffer.getvalue()


def bomb() -> bytes:
    """A PNG file of 200 kB whose header announces a thousand million pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", 32_000, 32_000, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(200 * MIB))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


def test_clients_are_told_the_limits(small):
    limits = small.get("/v1/detectors").json()["limits"]

    assert {name: LIMITS[name] for name in limits if name in LIMITS} == {
        name: value for name, value in LIMITS.items() if name != "class_sets"
    }


def ask_raw(client: httpx.Client, *pieces: bytes) -> bytes:
    """Send bytes as they are, and read what comes back."""
    url = client.base_url
    with socket.create_connection((url.host, url.port), timeout=60) as connection:
        for piece in pieces:
            connection.sendall(piece)
        return connection.recv(1 << 16)


def test_a_body_that_says_to_be_too_large_is_refused_before_it_comes(small):
    head = f"POST /v1/detect HTTP/1.1\r\nHost: a\r\nContent-Length: {MIB + 1}\r\n"

    answer = ask_raw(small, head.encode() + b"Content-Type: application/json\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 413")
    assert b"urn:clipn:problem:body-too-large" in answer


def test_a_body_that_does_not_say_its_size_is_refused_while_it_comes(small):
    head = b"POST /v1/detect HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
    piece = b"%x\r\n" % (MIB // 2) + bytes(MIB // 2) + b"\r\n"

    answer = ask_raw(small, head + b"Content-Type: application/json\r\n\r\n", *[piece] * 3)

    assert answer.startswith(b"HTTP/1.1 413")
    assert b"urn:clipn:problem:body-too-large" in answer


def test_an_image_may_have_so_many_bytes(small, detect, expect_problem):
    large = bytes(MIB // 2 + 1)

    expect_problem(detect(small, large, classes="cat"), 413, "image-too-large")
    body = {"images": [{"data": base64.b64encode(large).decode()}], "classes": ["cat"]}
    expect_problem(small.post("/v1/detect", json=body), 413, "image-too-large")


def test_a_request_may_have_so_many_images(small, detect, expect_problem):
    expect_problem(detect(small, *[b"GIF"] * 4, classes="cat"), 413, "too-many-images")
    body = {"images": [{"data": ""}] * 4, "classes": ["cat"]}
    expect_problem(small.post("/v1/detect", json=body), 413, "too-many-images")


def test_an_image_may_have_so_many_pixels(small, detect):
    fits, too_large = detect(small, encode(100, 100), encode(101, 100), classes="cat").json()[
        "answers"
    ]

    assert fits["error"] is None
    assert too_large["error"] == "its 101 x 100 pixels are more than 10000"


def test_a_decompression_bomb_is_refused_by_its_header(client, detect):
    data = bomb()
    assert len(data) < MIB

    (answer,) = detect(client, data).json()["answers"]

    assert answer["error"].startswith("its 32000 x 32000 pixels are more than")


def test_class_names_may_be_so_many_and_so_long(small, detect, expect_problem):
    names = ["one", "two", "three", "four"]
    assert detect(small, b"GIF", classes=names).status_code == 200
    assert detect(small, b"GIF", classes=["x" * 8]).status_code == 200

    for wrong in ([*names, "five"], ["x" * 9]):
        expect_problem(detect(small, b"GIF", classes=wrong), 422, "invalid-request")
        body = {"images": [{"data": ""}], "classes": wrong}
        expect_problem(small.post("/v1/detect", json=body), 422, "invalid-request")
        answer = small.put("/v1/classes/wrong", json={"classes": wrong})
        expect_problem(answer, 422, "invalid-request")


def test_a_form_may_have_so_many_and_so_long_fields(small, detect, expect_problem):
    expect_problem(detect(small, b"GIF", classes=["x"] * 50), 422, "invalid-request")
    expect_problem(detect(small, b"GIF", classes="x" * 5000), 422, "invalid-request")


def test_clients_may_make_so_many_class_sets(small, expect_problem):
    for name in ("one", "two"):
        assert small.put(f"/v1/classes/{name}", json={"classes": ["cat"]}).status_code == 201

    answer = small.put("/v1/classes/three", json={"classes": ["cat"]})

    expect_problem(answer, 409, "too-many-class-sets")
    assert small.put("/v1/classes/two", json={"classes": ["dog"]}).status_code == 200
    assert small.delete("/v1/classes/two").status_code == 204
    assert small.put("/v1/classes/three", json={"classes": ["cat"]}).status_code == 201
