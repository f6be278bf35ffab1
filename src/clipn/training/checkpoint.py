"""Checkpoints of a run: whole or not there, and nothing in them is ever unpickled.

OUT_DIR/checkpoints/step-00000500/state.json              step, what the run depends on, scaler
                                  weights.safetensors     the no tower
                                  optimizer.safetensors   AdamW's moments, by parameter name
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from clipn.errors import TrainingError
from clipn.files import file_crc32, read_json, write_json, write_tensors

NUM_KEPT = 2
STATE, WEIGHTS, OPTIMIZER = "state.json", "weights.safetensors", "optimizer.safetensors"


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """What a run goes on from.

    Attributes:
        step: Steps done.
        recipe: What the run depends on (`TrainConfig.recipe` and the data).
        weights: State of the no tower.
        moments: AdamW's state, keyed "parameter/moment".
        scaler: State of the gradient scaler of 16-mixed precision; empty for any other.
    """

    step: int
    recipe: dict[str, Any]
    weights: dict[str, Tensor]
    moments: dict[str, Tensor]
    scaler: dict[str, Any]


def save_checkpoint(
    folder: Path,
    *,
    step: int,
    recipe: dict[str, Any],
    module: nn.Module,
    optimizer: torch.optim.AdamW,
    scaler: dict[str, Any],
) -> None:
    """Write a checkpoint aside, rename it into place, drop all but the last two.

    Args:
        folder: Of all checkpoints of the run.
        step: Steps done.
        recipe: What the run depends on.
        module: What is trained.
        optimizer: Its optimizer.
        scaler: State of the gradient scaler, if there is one.

    Raises:
        TrainingError: If it cannot be written, as on a full disk.
    """
    moments = {
        f"{name}/{moment}": value
        for name, parameter in module.named_parameters()
        for moment, value in optimizer.state[parameter].items()
    }
    state = {"step": step, "recipe": recipe, "scaler": scaler}
    aside, final = folder / ".aside", folder / f"step-{step:08d}"
    shutil.rmtree(aside, ignore_errors=True)  # of a run that was killed while it wrote
    try:
        write_tensors(aside / WEIGHTS, _on_cpu(module.state_dict()))
        write_tensors(aside / OPTIMIZER, _on_cpu(moments))
        checksums = {name: file_crc32(aside / name) for name in (WEIGHTS, OPTIMIZER)}
        write_json(aside / STATE, {**state, "crc32": checksums})
        if final.exists():
            shutil.rmtree(final)
        aside.rename(final)
    except OSError as error:
        shutil.rmtree(aside, ignore_errors=True)
        raise TrainingError(
            f"The checkpoint of step {step} cannot be written: {error}. Those before it are as "
            "they were: make room, and start again to go on from the last of them."
        ) from error
    drop_old_checkpoints(folder)


def drop_old_checkpoints(folder: Path) -> None:
    """Remove all but the last two."""
    for old in _list(folder)[:-NUM_KEPT]:
        shutil.rmtree(old)


def load_last_checkpoint(folder: Path, *, recipe: dict[str, Any]) -> Checkpoint | None:
    """Read the last checkpoint of a run.

    Args:
        folder: Of all checkpoints of the run.
        recipe: What the run depends on now.

    Returns:
        The checkpoint; None if there is none yet.

    Raises:
        TrainingError: If it is damaged, or the run depended on something else.
    """
    folders = _list(folder)
    if not folders:
        return None
    last = folders[-1]
    try:
        state = read_json(last / STATE)
        for name, checksum in state.get("crc32", {}).items():
            if file_crc32(last / name) != checksum:
                raise ValueError(f"{name} has not the checksum that was noted")
        weights, moments = load_file(last / WEIGHTS), load_file(last / OPTIMIZER)
        step, found = int(state["step"]), dict(state["recipe"])
        scaler = dict(state.get("scaler", {}))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        raise TrainingError(
            f"The checkpoint {last} cannot be read ({error}); "
            "delete it to go on from the one before."
        ) from error
    if changed := _differences(found, recipe):
        raise TrainingError(
            f"{folder.parent} holds a run with other settings: {'; '.join(changed)}. "
            "Use the same settings to go on with it, or another out_dir."
        )
    return Checkpoint(step=step, recipe=found, weights=weights, moments=moments, scaler=scaler)


def restore(checkpoint: Checkpoint, *, module: nn.Module, optimizer: torch.optim.AdamW) -> None:
    """Put a checkpoint's weights and moments back, bit for bit."""
    module.load_state_dict(checkpoint.weights)
    for name, parameter in module.named_parameters():
        optimizer.state[parameter] = {
            key.rpartition("/")[2]: value.to(parameter.device, copy=True)
            for key, value in checkpoint.moments.items()
            if key.rpartition("/")[0] == name
        }


def _on_cpu(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copies that share no memory, as safetensors wants them."""
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}


def _list(folder: Path) -> list[Path]:
    """Finished checkpoints, the oldest first."""
    return sorted(folder.glob("step-*"))


def _differences(found: dict[str, Any], wanted: dict[str, Any], prefix: str = "") -> list[str]:
    """Settings that differ, each as "name was X and is Y"."""
    differences = []
    for key in sorted(found.keys() | wanted.keys()):
        old, new = found.get(key), wanted.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            differences += _differences(old, new, f"{prefix}{key}.")
        elif old != new:
            differences.append(f"{prefix}{key} was {old!r} and is {new!r}")
    return differences
