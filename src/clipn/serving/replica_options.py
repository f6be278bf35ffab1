"""How the service is spread over replicas; known without Ray."""

from dataclasses import dataclass

__all__ = ["ReplicaOptions"]


@dataclass(frozen=True, kw_only=True)
class ReplicaOptions:
    """How many replicas there are, and what each takes and reserves.

    Raises:
        ValueError: If a number is out of range.
    """

    address: str | None = None
    """Of a Ray cluster; by default one is started on this machine."""

    replicas: int = 2
    """How many hold the model."""

    ongoing_requests: int = 32
    """Requests that a replica works on at once."""

    queued_requests: int = 256
    """Requests that wait for a replica; more are refused with 503."""

    cpus: float = 1
    """Processors that a replica reserves."""

    gpus: float = 0
    """GPUs that a replica reserves."""

    def __post_init__(self) -> None:
        for name in ("replicas", "ongoing_requests", "queued_requests"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1; got {getattr(self, name)}.")
        for name in ("cpus", "gpus"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative; got {getattr(self, name)}.")
