"""Images of many requests go through the image tower together.

Threads decode; one thread, which owns the model, takes whatever is decoded by then, up to a batch,
and answers the requests that are complete with it. Nothing waits for a batch to fill: while one is
computed the next one gathers.
"""

import asyncio
import math
import time
from collections import defaultdict, deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from threading import Lock
from typing import Any, NamedTuple

import numpy as np

from clipn.errors import DataError
from clipn.predictions import Threshold
from clipn.serving.engine import Engine, Verdicts
from clipn.serving.metrics import Metrics
from clipn.serving.problems import ProblemError
from clipn.serving.schemas import Decider, ScoreName

__all__ = ["Answered", "Batcher", "Question"]

MAX_RETRY_SECONDS = 60
_MEMORY = 0.8  # share that the former batches keep in the mean rate


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is asked of images; equal ones are judged together.

    Attributes:
        bank: The embedded classes; one object a list of classes.
        score: Which score is taken.
        rule: What decides.
        threshold: Of the rule "threshold"; see `clipn.predictions.Threshold`.
        top_k: How many classes to tell about.
    """

    bank: Any
    score: ScoreName
    rule: Decider
    threshold: Threshold | None
    top_k: int


class Answered(NamedTuple):
    """The answer for the images of one request."""

    verdicts: Verdicts | None
    """Of the readable images; None if there is none."""
    rows: list[int]
    """Which image each row of `verdicts` is."""
    errors: dict[int, str]
    """Why an image could not be read, by its position."""


@dataclass(kw_only=True, eq=False)
class _Job:
    """One request."""

    question: Question
    future: asyncio.Future[Answered]
    num_missing: int
    features: dict[int, np.ndarray] = field(default_factory=dict)
    errors: dict[int, str] = field(default_factory=dict)


class _Item(NamedTuple):
    """One image of a request, decoded, or why it could not be."""

    job: _Job
    position: int
    pixels: Any
    error: str | None


class Batcher:
    """Answers requests with an engine.

    Args:
        engine: Decodes, embeds and judges.
        metrics: Gets the sizes of batches, and counts images.
        batch_size: Images that the engine sees at once.
        readers: Threads that decode.
        queue_images: Images that may wait or be worked on.
        max_pixels: Of one image.

    Attributes:
        num_images: Images that wait or are worked on.
    """

    def __init__(
        self,
        engine: Engine,
        metrics: Metrics,
        *,
        batch_size: int,
        readers: int,
        queue_images: int,
        max_pixels: int,
    ) -> None:
        self._engine, self._metrics, self._batch_size = engine, metrics, batch_size
        self._queue_images, self._max_pixels = queue_images, max_pixels
        self._readers = ThreadPoolExecutor(readers, thread_name_prefix="clipn-images")
        self._model_thread = ThreadPoolExecutor(1, thread_name_prefix="clipn-model")
        self._lock = Lock()
        self._ready: deque[_Item] = deque()
        self._is_busy = self._is_closed = False
        self._images_a_second = math.nan
        self.num_images = 0

    @property
    def num_decoded(self) -> int:
        """Images that wait for the image tower."""
        return len(self._ready)

    def check_room(self, num_images: int = 1) -> None:
        """Refuse images for which there is no room.

        Raises:
            ProblemError: If the queue is full.
        """
        if self.num_images + num_images <= self._queue_images:
            return
        seconds = self.num_images / self._images_a_second
        seconds = min(MAX_RETRY_SECONDS, math.ceil(seconds)) if seconds > 0 else 1
        raise ProblemError(
            "queue-full",
            f"{self.num_images} images are waiting, and {self._queue_images} may.",
            headers={"Retry-After": str(seconds)},
        )

    async def answer(self, images: Sequence[bytes], question: Question) -> Answered:
        """Answer for the images of one request; whoever gives up waiting frees their place.

        Raises:
            ProblemError: If the queue is full.
        """
        self.check_room(len(images))
        future = asyncio.get_running_loop().create_future()
        job = _Job(question=question, future=future, num_missing=len(images))
        self.num_images += len(images)
        try:
            for position, data in enumerate(images):
                reading = self._readers.submit(self._read, job, position, data)
                reading.add_done_callback(partial(self._notice_failure, [job]))
            return await future
        finally:
            self.num_images -= len(images)

    def _read(self, job: _Job, position: int, data: bytes) -> None:
        """Decode one image, in one of several threads."""
        if job.future.done():
            return
        pixels, error = None, None
        try:
            pixels = self._engine.read(data, max_pixels=self._max_pixels)
        except DataError as problem:
            error = str(problem).partition(" cannot be read as an image: ")[2] or str(problem)
        with self._lock:
            self._ready.append(_Item(job, position, pixels, error))
            if self._is_busy:
                return
            self._is_busy = True
        self._work_on()

    def _work_on(self) -> None:
        """Give the model's thread the next batch, if there is one."""
        with self._lock:
            num = 0 if self._is_closed else batch_size_of(len(self._ready), self._batch_size)
            batch = [self._ready.popleft() for _ in range(num)]
            self._is_busy = bool(batch)
            if not batch:
                return
            work = self._model_thread.submit(self._answer_batch, batch)
        work.add_done_callback(partial(self._notice_failure, [item.job for item in batch]))
        work.add_done_callback(lambda _: self._work_on())

    def _answer_batch(self, batch: list[_Item]) -> None:
        """Embed a batch and answer the requests that it completes, in the model's thread."""
        batch = [item for item in batch if not item.job.future.done()]
        readable = [item for item in batch if item.error is None]
        if readable:
            start = time.monotonic()
            features = self._engine.encode([item.pixels for item in readable])
            for item, row in zip(readable, features, strict=True):
                item.job.features[item.position] = row
            self._note(len(readable), time.monotonic() - start)
        for item in batch:
            if item.error is not None:
                item.job.errors[item.position] = item.error
                self._metrics.images.labels(outcome="unreadable").inc()
            item.job.num_missing -= 1
        complete = {id(item.job): item.job for item in batch if not item.job.num_missing}
        self._judge(list(complete.values()))

    def _note(self, num_images: int, seconds: float) -> None:
        self._metrics.batch_sizes.observe(num_images)
        self._metrics.batch_seconds.observe(seconds)
        self._metrics.images.labels(outcome="answered").inc(num_images)
        rate = num_images / max(seconds, 1e-9)
        before = rate if math.isnan(self._images_a_second) else self._images_a_second
        self._images_a_second = _MEMORY * before + (1 - _MEMORY) * rate

    def _judge(self, jobs: list[_Job]) -> None:
        """Judge images of equal questions together, and hand the answers back."""
        by_question: dict[Question, list[_Job]] = defaultdict(list)
        for job in jobs:
            by_question[job.question].append(job)
        for question, group in by_question.items():
            rows = [sorted(job.features) for job in group]
            features = [job.features[row] for job, own in zip(group, rows, strict=True)
                        for row in own]  # fmt: skip
            verdicts = None
            if features:
                verdicts = self._engine.judge(
                    np.stack(features), question.bank, score=question.score, rule=question.rule,
                    threshold=question.threshold, top_k=question.top_k,
                )  # fmt: skip
            first = 0
            for job, own in zip(group, rows, strict=True):
                part = verdicts.rows(first, first + len(own)) if verdicts and own else None
                first += len(own)
                _settle(job, Answered(part, own, job.errors))

    def _notice_failure(self, jobs: list[_Job], work: "Future[None]") -> None:
        """Pass on what went wrong in a thread to those who wait for it."""
        if work.cancelled() or (error := work.exception()) is None:
            return
        for job in jobs:
            _settle(job, error)

    def close(self) -> None:
        """End the threads; what nobody waits for any more is left undone."""
        self._readers.shutdown(wait=True, cancel_futures=True)
        with self._lock:
            self._is_closed = True
        self._model_thread.shutdown(wait=True)


def batch_size_of(num_ready: int, largest: int) -> int:
    """How many of the images that are ready go together: a power of two, or the largest batch.

    Towers keep memory for each size that they have seen, hundreds of megabytes for all of 1 to 64.

    Example:
        >>> [batch_size_of(num_ready, 48) for num_ready in (0, 1, 5, 47, 100)]
        [0, 1, 4, 32, 48]
    """
    return largest if num_ready >= largest else (1 << num_ready.bit_length()) >> 1


def _settle(job: _Job, result: Answered | BaseException) -> None:
    """Hand a result to the event loop that waits for it."""

    def settle() -> None:
        """Give the result, unless the request has ended."""
        if job.future.done():
            return
        if isinstance(result, BaseException):
            job.future.set_exception(result)
        else:
            job.future.set_result(result)

    job.future.get_loop().call_soon_threadsafe(settle)
