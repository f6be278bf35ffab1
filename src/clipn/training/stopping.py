"""Ends a run where nothing is lost when SIGTERM or SIGINT asks for it."""

import logging
import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from clipn.errors import StopRequested

SIGNALS = (signal.SIGTERM, signal.SIGINT)

log = logging.getLogger(__name__)


class StopSwitch:
    """Minds the signals that ask a run to end, within a `with` block.

    While the cache is built they end the run at once: finished shards stay. Once `defer` is called
    they are only noted, in `signum`, and the loop ends after its step, with a checkpoint. Where
    torchrun stops a run, a rank may be signalled twice, so a second signal changes nothing.

    Outside of the main thread, where Python allows no handlers, nothing is minded.
    """

    def __init__(self) -> None:
        self.signum = 0
        """The signal that has come; 0 if none has."""
        self._is_deferred = False
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "StopSwitch":
        """Take the signals over."""
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Give the signals back."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def defer(self) -> None:
        """From here on leave it to the loop to end."""
        self._is_deferred = True

    def _note(self, signum: int, frame: FrameType | None) -> None:
        if not self._is_deferred:
            raise StopRequested(
                signum,
                "before the first step; what was finished of the cache is kept, and the same "
                "command goes on from there.",
            )
        if not self.signum:
            log.warning("%s: ends after this step", signal.Signals(signum).name)
        self.signum = signum
