"""The errors that a program may want to handle; wrong arguments are ValueError or TypeError."""

import signal


class ClipnError(Exception):
    """A problem with something outside the program: weights, images, files."""


class ModelError(ClipnError):
    """Weights that cannot be loaded, do not fit, or cannot do what is asked of them."""


class DataError(ClipnError):
    """Images, captions or caches that cannot be read or do not belong together."""


class TrainingError(ClipnError):
    """A training run that cannot start or go on."""


class NotCalibratedError(ClipnError):
    """A decision is asked for, but the score has no rule of its own and no threshold was set."""


class RankError(ClipnError):
    """A process that cannot go on because another one that it works with failed or is gone."""


class StopRequested(KeyboardInterrupt):
    """Work ended because a signal asked for it; what was finished is kept.

    Not a `ClipnError`: nothing went wrong, and nothing that handles errors should hold it up.

    Args:
        signum: The signal, SIGTERM or SIGINT.
        what: What was stopped, what is kept, and how to go on.
    """

    def __init__(self, signum: int, what: str) -> None:
        super().__init__(f"stopped by {signal.Signals(signum).name} {what}")
        self.exit_code = 128 + signum
        """What a shell expects of a process that ended by this signal."""
