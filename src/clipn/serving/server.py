"""uvicorn, which ends well: after SIGTERM everything that was accepted is still answered."""

import asyncio
import queue
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import uvicorn
from fastapi import FastAPI

from clipn.serving.service import Service

__all__ = ["Server", "serve_in_thread"]

BACKLOG = 2048
EXTRA_SECONDS = 5  # beyond the deadline, for answers on their way


class Server(uvicorn.Server):
    """Serves an application until a signal ends it.

    After SIGTERM `/readyz` says "draining" and connections are closed after their answer; requests
    are taken for so long that whoever distributes them can notice. Then no connection is accepted
    any more, and the process ends as soon as everything is answered, at the latest a little after
    the deadline of requests. A second signal, or SIGINT, does not wait for new requests.

    Args:
        app: From `create_app`.
        host: Address to listen at.
        port: Port to listen at; 0 takes a free one.
        drain_seconds: How long requests are taken after SIGTERM.
        on_ready: Called with the address once requests are taken.
    """

    def __init__(
        self,
        app: FastAPI,
        *,
        host: str = "127.0.0.1",
        port: int = 8000,
        drain_seconds: float = 1.0,
        on_ready: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._service: Service = app.state.service
        self._drain_seconds, self._on_ready = drain_seconds, on_ready
        self._event_loop: asyncio.AbstractEventLoop | None = None
        wait = self._service.settings.deadline_seconds + EXTRA_SECONDS
        super().__init__(
            uvicorn.Config(
                app,
                host=host,
                port=port,
                ws="none",
                backlog=BACKLOG,
                access_log=False,
                log_config=None,
                server_header=False,
                timeout_graceful_shutdown=int(wait),
            )
        )

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and tell the address."""
        await super().startup(sockets)
        self._event_loop = asyncio.get_running_loop()
        if self.started:
            host, port, *_ = self.servers[0].sockets[0].getsockname()
            self._on_ready(f"http://{f'[{host}]' if ':' in host else host}:{port}/")

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to end, in a signal handler."""
        is_first = not self._service.is_draining
        self._service.is_draining = True
        if is_first and sig == signal.SIGTERM and self._event_loop is not None:
            self._event_loop.call_soon_threadsafe(
                self._event_loop.call_later, self._drain_seconds, self._stop
            )
        elif self.should_exit and sig == signal.SIGINT:
            self.force_exit = True
        else:
            self._stop()

    def _stop(self) -> None:
        self.should_exit = True


@contextmanager
def serve_in_thread(app: FastAPI) -> Iterator[str]:
    """Serve an application beside one's own code, on a free port, as notebooks and tests do.

    Args:
        app: From `create_app`.

    Yields:
        The address. The service ends with the block.

    Raises:
        queue.Empty: If it takes no requests within a minute.
    """
    addresses: queue.Queue[str] = queue.Queue()
    server = Server(app, port=0, on_ready=addresses.put)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield addresses.get(timeout=60)
    finally:
        server.should_exit = True
        thread.join()
