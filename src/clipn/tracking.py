"""Figures of a run for TensorBoard or Weights & Biases, beside the log that clipn keeps itself."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Protocol, get_args, runtime_checkable

from clipn.extras import import_extra

__all__ = ["Tracker", "TrackerName", "open_tracker"]

TrackerName = Literal["tensorboard", "wandb"]
"""Where figures go: files below the run's folder that `tensorboard --logdir` shows, or Weights &
Biases, which WANDB_MODE=offline keeps below that folder too."""

PROJECT = "clipn"


@runtime_checkable
class Tracker(Protocol):
    """Takes figures; the first call opens what they go to."""

    def log(self, figures: Mapping[str, float], *, step: int = 0) -> None:
        """Add figures.

        Args:
            figures: By name, such as "train/loss".
            step: Of a run that takes steps; those after it are forgotten if it goes back.
        """
        ...

    def close(self) -> None:
        """Write all that was taken."""
        ...


@contextmanager
def open_tracker(
    name: TrackerName, folder: Path, *, config: Mapping[str, Any] | None = None
) -> Iterator[Tracker]:
    """Track a run, which may be one that goes on.

    Args:
        name: Where figures go.
        folder: Of the run; the tracker's files go below it.
        config: What the run depends on, to be shown beside its figures.

    Yields:
        The tracker; nothing is opened before its first figure, so that only a rank that logs any
        does.

    Raises:
        ModelError: At the first figure, if the tracker's package is not installed.
        ValueError: If there is no such tracker.
    """
    if name not in get_args(TrackerName):
        raise ValueError(f"The tracker must be 'tensorboard' or 'wandb'; got {name!r}.")
    kind = _TensorBoard if name == "tensorboard" else _Wandb
    tracker = kind(folder, {key: _as_plain(value) for key, value in (config or {}).items()})
    try:
        yield tracker
    finally:
        tracker.close()


class _TensorBoard:
    """Event files in `folder/tensorboard`."""

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        self._folder, self._config, self._writer = folder / "tensorboard", config, None

    def log(self, figures: Mapping[str, float], *, step: int = 0) -> None:
        """See `Tracker`."""
        if self._writer is None:
            self._writer = self._open(step)
        for name, value in figures.items():
            self._writer.add_scalar(name, value, step)

    def _open(self, step: int) -> Any:
        tensorboard: Any = import_extra("torch.utils.tensorboard.writer", extra="tracking")
        # Steps that an interrupted run had logged after its checkpoint are done again.
        writer = tensorboard.SummaryWriter(str(self._folder), purge_step=step)
        lines = [f"    {name}: {value}" for name, value in self._config.items()]
        writer.add_text("config", "\n".join(lines), step)
        return writer

    def close(self) -> None:
        """See `Tracker`."""
        if self._writer is not None:
            self._writer.close()


class _Wandb:
    """A run of Weights & Biases; started again from the same folder it goes on."""

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        self._folder, self._config, self._run = folder, config, None

    def log(self, figures: Mapping[str, float], *, step: int = 0) -> None:
        """See `Tracker`."""
        if self._run is None:
            self._run = self._open()
        self._run.log({**figures, "step": step})

    def _open(self) -> Any:
        wandb: Any = import_extra("wandb", extra="tracking")
        self._folder.mkdir(parents=True, exist_ok=True)
        run = wandb.init(
            project=PROJECT,
            name=self._folder.name,
            id=hashlib.sha256(str(self._folder.absolute()).encode()).hexdigest()[:12],
            resume="allow",
            dir=str(self._folder),
            config=dict(self._config),
            settings=wandb.Settings(quiet=True, console="off"),
        )
        # Figures are drawn over our steps: W&B's own counter cannot go back to a checkpoint.
        run.define_metric("*", step_metric="step")
        return run

    def close(self) -> None:
        """See `Tracker`."""
        if self._run is not None:
            self._run.finish()


def _as_plain(value: Any) -> Any:
    """A value that JSON can hold, others as their text."""
    return value if isinstance(value, bool | int | float | str | type(None)) else str(value)
