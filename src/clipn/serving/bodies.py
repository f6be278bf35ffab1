"""Bodies of requests, counted while they come in."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager

from starlette.requests import ClientDisconnect, Request

from clipn.serving.problems import ProblemError

__all__ = ["ByteBudget", "read_body", "stream_body"]

RETRY_SECONDS = 1


class ByteBudget:
    """The bytes that the bodies of all requests may hold together.

    Args:
        num_bytes: That many.

    Attributes:
        num_held: How many they hold.
    """

    def __init__(self, num_bytes: int) -> None:
        self._num_bytes, self.num_held = num_bytes, 0

    @contextmanager
    def share(self) -> Iterator[Callable[[int], None]]:
        """The share of one request, until it is answered.

        Yields:
            A function that takes so many bytes more; it raises ProblemError where none are left.
        """
        held = 0

        def take(num_bytes: int) -> None:
            """Take more."""
            nonlocal held
            if self.num_held + num_bytes > self._num_bytes:
                raise ProblemError(
                    "queue-full",
                    f"The requests that are being answered hold {self.num_held} bytes already.",
                    headers={"Retry-After": str(RETRY_SECONDS)},
                )
            held += num_bytes
            self.num_held += num_bytes

        try:
            yield take
        finally:
            self.num_held -= held


async def stream_body(
    request: Request, *, max_bytes: int, take: Callable[[int], None]
) -> AsyncIterator[bytes]:
    """The body of a request, piece by piece.

    Args:
        request: Its body was not touched yet.
        max_bytes: More is refused: at once where the request says so, or else as soon as it comes.
        take: Counts the bytes, as `ByteBudget.share` says.

    Raises:
        ProblemError: If the body is too large, there is no room for it, or the client left.
    """
    too_large = ProblemError("body-too-large", f"A body may have at most {max_bytes} bytes.")
    length = request.headers.get("Content-Length", "")
    if length.isdecimal() and int(length) > max_bytes:
        raise too_large
    num_bytes = 0
    try:
        async for piece in request.stream():
            num_bytes += len(piece)
            if num_bytes > max_bytes:
                raise too_large
            take(len(piece))
            yield piece
    except ClientDisconnect as error:
        raise ProblemError("bad-request", "The client left before its request ended.") from error


async def read_body(request: Request, *, max_bytes: int, take: Callable[[int], None]) -> bytes:
    """The whole body of a request; see `stream_body`."""
    pieces = [piece async for piece in stream_body(request, max_bytes=max_bytes, take=take)]
    return b"".join(pieces)
