"""Errors as problem+json (RFC 9457): every one has its kind, and none a traceback."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Match

from clipn.serving.schemas import FieldError, Problem

__all__ = ["METHODS", "PROBLEM_TYPE", "Kind", "ProblemError", "add_handlers", "field_errors"]

PROBLEM_TYPE = "application/problem+json"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})

# fmt: off
Kind = Literal[
    "bad-request", "unauthorized", "not-found", "method-not-allowed", "body-timeout", "read-only",
    "too-many-class-sets", "precondition-failed", "body-too-large", "image-too-large",
    "too-many-images", "unsupported-media-type", "invalid-request", "not-calibrated",
    "internal-error", "queue-full", "deadline",
]
KINDS: Mapping[Kind, tuple[int, str]] = {
    "bad-request": (400, "Bad request"),
    "unauthorized": (401, "Token missing or wrong"),
    "not-found": (404, "Not found"),
    "method-not-allowed": (405, "Method not allowed"),
    "body-timeout": (408, "Body too slow"),
    "read-only": (409, "Read only"),
    "too-many-class-sets": (409, "Too many class sets"),
    "precondition-failed": (412, "Changed meanwhile"),
    "body-too-large": (413, "Body too large"),
    "image-too-large": (413, "Image too large"),
    "too-many-images": (413, "Too many images"),
    "unsupported-media-type": (415, "Unsupported media type"),
    "invalid-request": (422, "Request not accepted"),
    "not-calibrated": (409, "Nothing decides"),
    "internal-error": (500, "Internal error"),
    "queue-full": (503, "Queue full"),
    "deadline": (504, "Deadline passed"),
}
# fmt: on
_KIND_OF_STATUS: Mapping[int, Kind] = {404: "not-found", 405: "method-not-allowed"}


class ProblemError(Exception):
    """A request that is answered with a problem.

    Args:
        kind: Which one.
        detail: What is wrong here, and what to do.
        errors: Each wrong place of the request.
        headers: Sent along.
    """

    def __init__(
        self,
        kind: Kind,
        detail: str,
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.kind: Kind = kind
        self.errors, self.headers = list(errors), dict(headers or {})


def field_errors(error: ValidationError | RequestValidationError) -> list[FieldError]:
    """The wrong places that pydantic found, as JSON pointers."""
    return [
        FieldError(pointer=_pointer(found["loc"]), detail=found["msg"])
        for found in error.errors()[:20]
    ]


def _pointer(place: Sequence[int | str]) -> str:
    parts = (str(part).replace("~", "~0").replace("/", "~1") for part in place)
    return "".join(f"/{part}" for part in parts)


def _answer(request: Request, error: ProblemError) -> Response:
    status, title = KINDS[error.kind]
    problem = Problem(
        type=f"urn:clipn:problem:{error.kind}",
        title=title,
        status=status,
        detail=str(error),
        request_id=request.state.request_id,
        errors=error.errors,
    )
    return Response(
        problem.model_dump_json(),
        status_code=status,
        media_type=PROBLEM_TYPE,
        headers={"X-Request-ID": problem.request_id, "Cache-Control": "no-store"} | error.headers,
    )


async def _answer_problem(request: Request, error: Any) -> Response:
    return _answer(request, error)


async def _answer_http(request: Request, error: Any) -> Response:
    kind = _KIND_OF_STATUS.get(error.status_code, "bad-request")
    details = {
        "not-found": "There is nothing at this path.",
        "method-not-allowed": f"{request.method} is not allowed at this path.",
    }
    detail = details.get(kind, str(error.detail))
    # The framework names the methods of one route, but several may share a path.
    headers = {"Allow": _allowed_methods(request)} if error.status_code == 405 else error.headers
    return _answer(request, ProblemError(kind, detail, headers=headers))


def _allowed_methods(request: Request) -> str:
    scopes = {method: {**request.scope, "method": method} for method in sorted(METHODS)}
    return ", ".join(
        method
        for method, scope in scopes.items()
        if any(route.matches(scope)[0] is Match.FULL for route in request.app.routes)
    )


async def _answer_validation(request: Request, error: Any) -> Response:
    problem = ProblemError(
        "invalid-request", "A part of the request is not as it should be.",
        errors=field_errors(error),
    )  # fmt: skip
    return _answer(request, problem)


async def _answer_failure(request: Request, _: Exception) -> Response:
    detail = "The service failed; its log says why, under this request ID."
    return _answer(request, ProblemError("internal-error", detail))


def add_handlers(app: FastAPI) -> None:
    """Have every error of an application answered as a problem."""
    app.add_exception_handler(ProblemError, _answer_problem)
    app.add_exception_handler(HTTPException, _answer_http)
    app.add_exception_handler(RequestValidationError, _answer_validation)
    app.add_exception_handler(Exception, _answer_failure)
