"""Clients of the service, as cheap as they can be: they share its cores.

Used by `serving_load.py`; requests are written as bytes and answers compared with those expected.
"""

import asyncio
import itertools
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

TOLERANCE = 1e-5  # of a score: the same image in batches of other sizes
BOUNDARY = "serving-load"


@dataclass(kw_only=True)
class Tally:
    """What the clients saw."""

    seconds: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    answered: set[str] = field(default_factory=set)
    num_wrong: int = 0
    num_cut: int = 0
    """Connections that ended within an answer."""

    def add(self, other: "Tally") -> None:
        """Count what others saw, too."""
        self.seconds += other.seconds
        self.statuses += other.statuses
        self.answered |= other.answered
        self.num_wrong += other.num_wrong
        self.num_cut += other.num_cut


@dataclass(frozen=True, kw_only=True)
class Load:
    """What clients ask for, and what they have to be answered."""

    files: Sequence[bytes]
    expected: Sequence[tuple[str, float]]
    images_a_request: int
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def request(self) -> tuple[str, bytes, list[int]]:
        """The ID of a new request, the request as bytes, and which images it holds."""
        number = next(self.numbers)
        request_id, first = f"load-{number}", number * self.images_a_request
        rows = [(first + i) % len(self.files) for i in range(self.images_a_request)]
        parts = [
            f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="images"; filename="{row}"\r\n'
            "Content-Type: image/jpeg\r\n\r\n".encode()
            + self.files[row]
            + b"\r\n"
            for row in rows
        ]
        body = b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()
        head = (
            f"POST /v1/detect HTTP/1.1\r\nHost: localhost\r\nX-Request-ID: {request_id}\r\n"
            f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        return request_id, head.encode() + body, rows

    def is_right(self, body: bytes, rows: Sequence[int]) -> bool:
        """Whether an answer is the detector's."""
        answers = json.loads(body)["answers"]
        return len(answers) == len(rows) and all(
            answer["label"] == self.expected[row][0]
            and abs(answer["score"] - self.expected[row][1]) < TOLERANCE
            for answer, row in zip(answers, rows, strict=True)
        )


async def ask(
    address: str, load: Load, tally: Tally, until: float, requests_a_second: float
) -> None:
    """One client: asks until a time, or until the service is gone.

    Args:
        address: Of the service.
        load: What to ask for.
        tally: Gets what happened.
        until: On the event loop's clock.
        requests_a_second: At most so many; 0: as many as are answered.
    """
    host, port = urlsplit(address).hostname, urlsplit(address).port
    loop, connection = asyncio.get_running_loop(), None
    due = loop.time()
    while loop.time() < until:
        request_id, data, rows = load.request()
        try:
            connection = connection or await asyncio.open_connection(host, port)
        except OSError:
            return
        reader, writer = connection
        start = loop.time()
        try:
            writer.write(data)
            head = await reader.readuntil(b"\r\n\r\n")
        except (OSError, asyncio.IncompleteReadError):
            connection = None  # closed before it took the request
            continue
        status, length, is_last = read_head(head)
        try:
            body = await reader.readexactly(length)
        except (OSError, asyncio.IncompleteReadError):
            tally.num_cut += 1
            return
        tally.seconds.append(loop.time() - start)
        tally.statuses[status] += 1
        tally.answered.add(request_id)
        if status == 200 and not load.is_right(body, rows):
            tally.num_wrong += 1
        if is_last:
            writer.close()
            connection = None
        if requests_a_second:
            due += 1 / requests_a_second
            await asyncio.sleep(max(0, due - loop.time()))


def read_head(head: bytes) -> tuple[int, int, bool]:
    """Status, length of the body, and whether the connection ends with it."""
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines if line)
    is_last = headers.get("connection") == "close"
    return int(first.split()[1]), int(headers["content-length"]), is_last


async def run_clients(
    address: str, load: Load, num_clients: int, seconds: float, requests_a_second: float = 0
) -> Tally:
    """All clients for some time; the rate is that of all together."""
    tally, until = Tally(), asyncio.get_running_loop().time() + seconds
    rate = requests_a_second / num_clients
    await asyncio.gather(*(ask(address, load, tally, until, rate) for _ in range(num_clients)))
    return tally
