"""What every request gets: an ID, security headers, a line in the log, its place in the metrics."""

import json
import logging
import re
import secrets
import time
from datetime import UTC, datetime
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from clipn.serving.problems import METHODS
from clipn.serving.service import Service

__all__ = ["Envelope", "JsonLines"]

log = logging.getLogger("clipn.serving.requests")

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
UNKNOWN_ROUTE = "unknown"
SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' blob:; media-src 'self' blob:; object-src 'none'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), clipboard-read=(self), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Envelope:
    """ASGI middleware around the whole application.

    Args:
        app: What answers.
        service: Its metrics count, and once it drains, connections are closed.
    """

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app, self._service = app, service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        asked_for = Headers(scope=scope).get("X-Request-ID", "")
        is_usable = _REQUEST_ID.fullmatch(asked_for) is not None
        request_id = asked_for if is_usable else secrets.token_hex(8)
        scope.setdefault("state", {})["request_id"] = request_id
        status, start = 500, time.perf_counter()  # 500: what a failure is answered with, outside

        async def send_enveloped(message: Message) -> None:
            """Add headers to an answer."""
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = request_id
                headers.update(SECURITY_HEADERS)
                if self._service.is_draining:
                    headers["Connection"] = "close"
            await send(message)

        with self._service.metrics.requests_in_flight.track_inprogress():
            try:
                return await self._app(scope, receive, send_enveloped)
            finally:
                self._note(scope, status, time.perf_counter() - start)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", UNKNOWN_ROUTE)
        # Any word may be a method, but only these are worth a counter.
        method = scope["method"] if scope["method"] in METHODS else "other"
        metrics = self._service.metrics
        metrics.requests.labels(route=route, method=method, status=status).inc()
        metrics.request_seconds.labels(route=route).observe(seconds)
        level = logging.ERROR if status >= 500 else logging.INFO
        fields = {
            "request_id": scope["state"]["request_id"],
            "method": method,
            "route": route,
            "status": status,
            "seconds": round(seconds, 4),
            "images": scope["state"].get("num_images", 0),
            "client": (scope.get("client") or ("", 0))[0],
        }
        log.log(level, "request", extra={"fields": fields})


class JsonLines(logging.Formatter):
    """Each record as a line of JSON; neither headers nor addresses as typed ever get into one."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter.format`."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= getattr(record, "fields", {})
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)
