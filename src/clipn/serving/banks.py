"""Class names are embedded in a thread of their own, each list once, and the last ones are kept."""

import asyncio
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from clipn.serving.engine import Engine
from clipn.serving.problems import ProblemError

__all__ = ["Banks"]

RETRY_SECONDS = 5


class Banks:
    """The banks of an engine.

    Args:
        engine: Embeds class names.
        kept_classes: Classes that are kept, all lists together; the list that was asked for longest
            ago goes first.
        queue_banks: Lists that may wait to be embedded.
    """

    def __init__(self, engine: Engine, *, kept_classes: int, queue_banks: int) -> None:
        self._engine, self._kept_classes, self._queue_banks = engine, kept_classes, queue_banks
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="clipn-classes")
        self._banks: OrderedDict[tuple[str, ...], asyncio.Future[Any]] = OrderedDict()

    @property
    def num_waiting(self) -> int:
        """Lists that are not embedded yet."""
        return sum(not future.done() for future in self._banks.values())

    async def get(self, names: tuple[str, ...]) -> Any:
        """The bank of these classes; embedding goes on where the one who asks gives up.

        Args:
            names: Checked already.

        Raises:
            ProblemError: If they cannot be embedded, or too many lists wait.
        """
        known = self._engine.info.class_names
        if known is not None and names != known:
            raise ProblemError(
                "invalid-request",
                f"This detector knows only the {len(known)} classes that it was exported with; "
                'leave classes out, or name the class set "default".',
            )
        future = self._banks.get(names)
        if future is None:
            future = self._start(names)
        self._banks.move_to_end(names)
        try:
            return await asyncio.shield(future)
        except ValueError as error:
            raise ProblemError("invalid-request", str(error)) from error

    def _start(self, names: tuple[str, ...]) -> asyncio.Future[Any]:
        if self.num_waiting >= self._queue_banks:
            raise ProblemError(
                "queue-full",
                f"{self._queue_banks} lists of new classes wait to be embedded already.",
                headers={"Retry-After": str(RETRY_SECONDS)},
            )
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(self._thread, self._engine.embed_classes, names)
        self._banks[names] = future
        future.add_done_callback(lambda done: self._settle(names, done))
        return future

    def _settle(self, names: tuple[str, ...], future: asyncio.Future[Any]) -> None:
        """Forget what failed, and what there is no more room for."""
        if future.cancelled() or future.exception() is not None:
            self._banks.pop(names, None)
        kept = sum(map(len, self._banks))
        for oldest in list(self._banks):
            if kept <= self._kept_classes:
                return
            if oldest != names and self._banks[oldest].done():
                del self._banks[oldest]
                kept -= len(oldest)

    def close(self) -> None:
        """End the thread; what waits is given up."""
        self._thread.shutdown(wait=True, cancel_futures=True)
