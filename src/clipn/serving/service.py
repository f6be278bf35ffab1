"""The state that the routes share: engine, class sets, queue, metrics."""

from collections.abc import Mapping
from typing import Annotated, Literal

from fastapi import Depends, Request

from clipn.serving.banks import Banks
from clipn.serving.batching import Batcher
from clipn.serving.bodies import ByteBudget
from clipn.serving.class_sets import ClassSets
from clipn.serving.engine import Engine
from clipn.serving.metrics import Metrics
from clipn.serving.schemas import ClassSetContent
from clipn.serving.settings import Settings

__all__ = ["DEFAULT_CLASS_SET", "Service", "TheService"]

DEFAULT_CLASS_SET = "default"


class Service:
    """All that a running service is.

    Args:
        engine: Answers.
        settings: What it allows and holds.
        class_sets: Those that come from the command line, by name.

    Attributes:
        is_draining: Whether no new requests should be sent here.
        metrics: What is counted.
        banks: The embedded class names.
        class_sets: The named class sets.
        batcher: Brings images and engine together.
        bodies: Counts the bytes that requests hold.
    """

    def __init__(
        self, engine: Engine, settings: Settings, class_sets: Mapping[str, ClassSetContent]
    ) -> None:
        self.engine, self.settings = engine, settings
        self.is_draining = False
        self.metrics = Metrics()
        self.banks = Banks(
            engine, kept_classes=settings.kept_classes, queue_banks=settings.queue_banks
        )
        self.class_sets = ClassSets(
            self.banks,
            max_sets=settings.class_sets,
            max_classes=settings.classes,
            max_length=settings.name_length,
        )
        self.batcher = Batcher(
            engine,
            self.metrics,
            batch_size=settings.batch_size,
            readers=settings.readers,
            queue_images=settings.queue_images,
            max_pixels=settings.image_pixels,
        )
        self.bodies = ByteBudget(settings.queue_bytes)
        self._initial_class_sets, self._is_started = class_sets, False
        for name, description, value in (
            ("queue_images", "Images waiting or worked on.", lambda: self.batcher.num_images),
            ("queue_decoded", "Images waiting for the tower.", lambda: self.batcher.num_decoded),
            ("queue_bytes", "Bytes of bodies held.", lambda: self.bodies.num_held),
            ("queue_banks", "Lists of classes to embed.", lambda: self.banks.num_waiting),
        ):
            self.metrics.watch(name, description, value)

    @property
    def status(self) -> Literal["ok", "draining", "overloaded", "starting"]:
        """Whether requests should be sent here, or why not."""
        if self.is_draining:
            return "draining"
        if not self._is_started:
            return "starting"
        is_full = self.batcher.num_images >= self.settings.queue_images
        return "overloaded" if is_full else "ok"

    async def start(self) -> None:
        """Embed the first class sets.

        Raises:
            ProblemError: If that cannot be done.
        """
        await self.class_sets.start(self._initial_class_sets)
        self._is_started = True

    def close(self) -> None:
        """End all threads."""
        self.banks.close()
        self.batcher.close()


async def _get_service(request: Request) -> Service:
    return request.app.state.service


TheService = Annotated[Service, Depends(_get_service)]
"""The service of the application that a route belongs to."""
