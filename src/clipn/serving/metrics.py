"""What Prometheus is told."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

__all__ = ["Metrics"]

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """The counters of one application, in a registry of their own.

    Attributes:
        requests: By route, method and status.
        request_seconds: From the first byte of a request to the last of its answer, by route.
        requests_in_flight: Requests that are being answered.
        images: By outcome: "answered" or "unreadable".
        batch_sizes: Images that the image tower saw at once.
        batch_seconds: What it took for them.
    """

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "clipn_requests",
            "Requests answered.",
            ("route", "method", "status"),
            registry=self._registry,
        )
        self.request_seconds = Histogram(
            "clipn_request_seconds",
            "Time to answer a request.",
            ("route",),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.requests_in_flight = Gauge(
            "clipn_requests_in_flight", "Requests being answered.", registry=self._registry
        )
        self.images = Counter(
            "clipn_images", "Images by outcome.", ("outcome",), registry=self._registry
        )
        self.batch_sizes = Histogram(
            "clipn_batch_images",
            "Images that the image tower saw at once.",
            buckets=_SIZES,
            registry=self._registry,
        )
        self.batch_seconds = Histogram(
            "clipn_batch_seconds",
            "Time that the image tower took for a batch.",
            buckets=_SECONDS,
            registry=self._registry,
        )
        for outcome in ("answered", "unreadable"):
            self.images.labels(outcome=outcome)

    def watch(self, name: str, description: str, value: Callable[[], float]) -> None:
        """Add a gauge that is asked for its value whenever the metrics are read."""
        Gauge(f"clipn_{name}", description, registry=self._registry).set_function(value)

    def to_text(self) -> bytes:
        """All of them in Prometheus' text format."""
        return generate_latest(self._registry)
