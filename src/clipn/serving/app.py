"""The application: routes around an engine."""

import hmac
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Annotated

from fastapi import Depends, FastAPI
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from clipn.serving import about, class_routes, detecting, page
from clipn.serving.engine import Engine
from clipn.serving.envelope import Envelope
from clipn.serving.openapi import describe_with
from clipn.serving.problems import ProblemError, add_handlers
from clipn.serving.schemas import ClassSetContent
from clipn.serving.service import Service, TheService
from clipn.serving.settings import Settings

__all__ = ["create_app"]


def create_app(
    engine: Engine,
    *,
    settings: Settings | None = None,
    class_sets: Mapping[str, ClassSetContent] | None = None,
) -> FastAPI:
    """Build the service as an ASGI application, for `clipn serve`, uvicorn, tests or Ray Serve.

    Its state `app.state.service` is a `clipn.serving.service.Service`. One application belongs to
    one event loop; its threads end with its lifespan.

    Args:
        engine: Embeds and judges.
        settings: Limits, queues, the token.
        class_sets: Class sets that clients cannot change, by name; requests that name none take
            the one named "default".

    Example:
        >>> from clipn.model import load_model
        >>> from clipn.serving.torch_engine import TorchEngine
        >>> app = create_app(TorchEngine(load_model("compact")))
        >>> app.title
        'clipn'
    """
    settings = settings or Settings()
    service = Service(engine, settings, class_sets or {})

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        """Start and end with the server."""
        await service.start()
        yield
        service.close()

    app = FastAPI(
        title="clipn",
        summary='What images show: one of your classes, or "none of these".',
        version=version("clipn"),
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.service = service
    add_handlers(app)
    app.add_middleware(Envelope, service=service)
    guards = [] if settings.token is None else [Depends(_check_token)]
    for router in (detecting.router, class_routes.router, about.router, about.metrics_router):
        app.include_router(router, dependencies=guards)
    app.include_router(about.health_router)
    app.include_router(page.router)
    app.openapi = describe_with(app, settings)
    return app


Credentials = Annotated[
    HTTPAuthorizationCredentials | None,
    Depends(HTTPBearer(auto_error=False, scheme_name="token", description="The token.")),
]


async def _check_token(service: TheService, credentials: Credentials) -> None:
    """Refuse a request without the token, in a time that tells nothing of it."""
    given = "" if credentials is None else credentials.credentials
    token = service.settings.token or ""
    if not hmac.compare_digest(given.encode("utf-8", "surrogateescape"), token.encode()):
        raise ProblemError(
            "unauthorized",
            'Send the header "Authorization: Bearer TOKEN".',
            headers={"WWW-Authenticate": "Bearer"},
        )
