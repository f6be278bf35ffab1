"""What the service says of itself: detectors and limits, health, metrics."""

from importlib.metadata import version

from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST

from clipn.serving.schemas import DetectorInfo, DetectorList, Health
from clipn.serving.service import DEFAULT_CLASS_SET, TheService

__all__ = ["health_router", "metrics_router", "router"]

router, health_router, metrics_router = APIRouter(), APIRouter(), APIRouter()


@router.get("/v1/detectors", summary="List detectors and limits")
async def list_detectors(service: TheService) -> DetectorList:
    """The model, what it can do, and what a request may hold."""
    info = service.engine.info
    detector = DetectorInfo(
        name=info.name,
        runtime=info.runtime,
        has_no=info.has_no,
        takes_classes=info.class_names is None,
        scores=list(info.scores),
        score=info.score,
        image_size=info.image_size,
        embedding_dim=info.embedding_dim,
        tau=info.tau,
        default_class_set=DEFAULT_CLASS_SET if DEFAULT_CLASS_SET in service.class_sets else None,
    )
    return DetectorList(
        version=version("clipn"), detectors=[detector], limits=service.settings.limits
    )


@health_router.get("/healthz", summary="Whether the service lives")
async def healthz() -> Health:
    """Always "ok"; a service that does not answer is to be started again."""
    return Health(status="ok")


@health_router.get(
    "/readyz",
    summary="Whether requests should be sent here",
    responses={503: {"model": Health, "description": "Not now."}},
)
async def readyz(service: TheService, response: Response) -> Health:
    """503 while it starts, has no room, or drains."""
    if service.status != "ok":
        response.status_code = 503
    return Health(status=service.status)


@metrics_router.get("/metrics", summary="Metrics for Prometheus", response_class=PlainTextResponse)
async def metrics(service: TheService) -> Response:
    """Counters, gauges and histograms as Prometheus reads them."""
    return Response(service.metrics.to_text(), media_type=CONTENT_TYPE_LATEST)
