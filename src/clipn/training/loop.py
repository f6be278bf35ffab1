"""Teaching "no", read from top to bottom.

In one process, or over several with torchrun (gloo on CPUs, nccl on GPUs), with the same result:

    clipn train --model ViT-B-16/laion2b_s34b_b88k --pairs.source "cc3m/*.tar" --out-dir run
    torchrun --nproc-per-node 4 -m clipn.cli.main train --model ... --out-dir run

The frozen towers are run once, into a cache. A step then only embeds the "no" of its captions.
Every draw (order, caption, view, prompt) is a function of the seed and the step, so a run that is
interrupted and started again ends with the same weights as one that is not, on any number of ranks.
"""

import atexit
import json
import logging
import os
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment

from clipn import distributed
from clipn.errors import StopRequested, TrainingError
from clipn.files import drop_asides, write_text
from clipn.locking import hold_folder
from clipn.model import CLIPN, load_model, save_model
from clipn.training.batches import BatchPlan
from clipn.training.checkpoint import (
    drop_old_checkpoints,
    load_last_checkpoint,
    restore,
    save_checkpoint,
)
from clipn.training.config import TrainConfig
from clipn.training.embeddings import open_cache
from clipn.training.nan_guard import refuse_nan_loss, refuse_nan_weights
from clipn.training.optim import build_optimizer, learning_rate
from clipn.training.step import clear_gradients, take_gradients
from clipn.training.stopping import StopSwitch

logger = logging.getLogger(__name__)

CHECKPOINTS = "checkpoints"

Evaluate = Callable[[CLIPN], Mapping[str, float]]


@dataclass(frozen=True, kw_only=True)
class StepRecord:
    """A line of the log.

    Attributes:
        step: Steps done.
        num_steps: Steps of the whole run.
        epoch: Passes over the pairs, as a fraction.
        loss: What is minimised: see `clipn.losses.clipn_loss`; the terms follow.
        lr: Learning rate of the step.
        pairs_per_second: Over all ranks, since the line before.
    """

    step: int
    num_steps: int
    epoch: float
    loss: float
    itbo_diagonal: float
    itbo_off_diagonal: float
    tso: float
    ranking: float
    lr: float
    pairs_per_second: float


def train(
    config: TrainConfig,
    *,
    model: CLIPN | None = None,
    evaluate: Evaluate | None = None,
    on_shard: Callable[[int, int], None] | None = None,
    on_step: Callable[[StepRecord], None] | None = None,
) -> CLIPN:
    """Teach a CLIP to say "no".

    Args:
        config: Everything that the result depends on.
        model: What to teach, instead of loading `config.model`.
        evaluate: Called after each epoch (see `evaluate_every`) on the first rank with the model as
            it is; the figures that it returns go into the log.
        on_shard: Called with (shards done, shards in all) while the cache is built.
        on_step: Called with each line of the log, on the first rank.

    Returns:
        The taught model; it is also in `config.out_dir`, as a model folder.

    Raises:
        ModelError: If the model cannot be loaded or cannot get a "no".
        DataError: If the pairs cannot be read, too many are bad, or the cache does not belong to
            them.
        TrainingError: If the run in `out_dir` is another one or goes on in another process, the
            loss or a weight is no longer a number, or a checkpoint cannot be written.
        RankError: If another rank failed or is gone.
        StopRequested: If SIGTERM or SIGINT came; a checkpoint of the last step is there.
        ValueError: If the model says "no" already, but in the other variant.

    Source: Wang et al., "CLIPN for Zero-Shot OOD Detection: Teaching CLIP to Say No", ICCV 2023.
    """
    with StopSwitch() as stop, distributed.notice_lost_ranks(), ExitStack() as held:
        return _teach(config, model, evaluate, on_shard, on_step, stop, held)


def _hold_run(config: TrainConfig) -> AbstractContextManager[None]:
    """Refuse to teach where another process does: both would write the same checkpoints."""
    refusal = TrainingError(
        f"Another process is teaching into {config.out_dir}: wait for its end, or name another "
        "out_dir."
    )
    return hold_folder(config.out_dir / CHECKPOINTS, refusal=refusal)


def _teach(
    config: TrainConfig,
    model: CLIPN | None,
    evaluate: Evaluate | None,
    on_shard: Callable[[int, int], None] | None,
    on_step: Callable[[StepRecord], None] | None,
    stop: StopSwitch,
    held: ExitStack,
) -> CLIPN:
    """Teach, as `train` says."""
    fabric = _launch(config)

    # What is taught
    model = load_model(config.model) if model is None else model
    if not model.has_no:
        model.add_no_tower(
            variant=config.variant, num_prompts=config.num_prompts, start=config.start
        )
    elif model.variant != config.variant:
        raise ValueError(f"variant is {config.variant!r}; the model's own is {model.variant!r}.")
    model.to(fabric.device)
    no_tower = model.no_tower
    assert no_tower is not None
    no_tower.text.set_grad_checkpointing(config.grad_checkpointing)

    # What it is taught with
    cache = open_cache(config, model, on_shard=on_shard)
    plan = BatchPlan(
        cache=cache,
        batch_size=config.batch_size,
        num_prompts=no_tower.num_prompts,
        seed=config.seed,
        captions=config.captions,
    ).fit(num_ranks=fabric.world_size)
    num_steps, tau = config.epochs * plan.steps_an_epoch, model.tau

    # Where it goes on
    with distributed.FailTogether():
        if fabric.is_global_zero:
            held.enter_context(_hold_run(config))
            drop_asides(config.out_dir)
            drop_old_checkpoints(config.out_dir / CHECKPOINTS)
    optimizer = build_optimizer(no_tower, config)
    recipe = config.identity(tau=tau, data_fingerprint=cache.manifest["data_fingerprint"])
    checkpoints, log = config.out_dir / CHECKPOINTS, config.out_dir / "log.jsonl"
    first_step = 0
    if checkpoint := load_last_checkpoint(checkpoints, recipe=recipe):
        restore(checkpoint, module=no_tower, optimizer=optimizer)
        if checkpoint.scaler:
            fabric.strategy.precision.load_state_dict(checkpoint.scaler)
        first_step = checkpoint.step
    if fabric.is_global_zero:
        _cut_log(log, first_step)
    trainee, optimizer_on_device = fabric.setup(no_tower, optimizer)

    model.train()
    stop.defer()
    start, start_step = time.monotonic(), first_step
    for step in range(first_step, num_steps):
        lr = learning_rate(step, num_steps=num_steps, config=config)
        for group in optimizer.param_groups:
            group["lr"] = lr
        batch = plan.read(step, rank=fabric.global_rank, num_ranks=fabric.world_size)
        clear_gradients(no_tower)
        losses = take_gradients(trainee, batch, fabric=fabric, tau=tau, config=config)
        refuse_nan_loss(losses, step=step + 1, batch=batch, cache=cache, folder=config.out_dir)
        optimizer_on_device.step()

        done = step + 1
        is_last, is_epoch = done == num_steps, done % plan.steps_an_epoch == 0
        if fabric.is_global_zero and (done % config.log_every == 0 or is_last):
            now = time.monotonic()
            record = StepRecord(
                step=done,
                num_steps=num_steps,
                epoch=done / plan.steps_an_epoch,
                loss=losses.total.item(),
                itbo_diagonal=losses.itbo_diagonal.item(),
                itbo_off_diagonal=losses.itbo_off_diagonal.item(),
                tso=losses.tso.item(),
                ranking=losses.ranking.item(),
                lr=lr,
                pairs_per_second=plan.batch_size * (done - start_step) / max(now - start, 1e-9),
            )
            start, start_step = now, done
            _append(log, asdict(record))
            if on_step:
                on_step(record)
        if evaluate and is_epoch and (done // plan.steps_an_epoch) % config.evaluate_every == 0:
            with distributed.FailTogether():
                if fabric.is_global_zero:
                    figures = {name: float(value) for name, value in evaluate(model.eval()).items()}
                    _append(log, {"step": done, "evaluation": figures})
                    model.train()
        # Ranks are not signalled in the same step; all of them end after this one.
        signum = distributed.largest(stop.signum)
        if done % config.checkpoint_every == 0 or is_last or signum:
            with distributed.FailTogether():
                refuse_nan_weights(no_tower, step=done)
                if fabric.is_global_zero:
                    save_checkpoint(
                        checkpoints,
                        step=done,
                        recipe=recipe,
                        module=no_tower,
                        optimizer=optimizer,
                        scaler=fabric.strategy.precision.state_dict(),
                    )
        if signum and not is_last:
            raise StopRequested(
                signum,
                f"after step {done} of {num_steps}; its checkpoint is kept, and the same command "
                "goes on from there.",
            )

    model.eval()
    with distributed.FailTogether():
        if fabric.is_global_zero:
            save_model(model, config.out_dir, training={**recipe, "num_pairs": len(cache)})
    return model


def _launch(config: TrainConfig) -> Fabric:
    """Join the other ranks if torchrun started us, else run in this one process."""
    if TorchElasticEnvironment.detect():
        devices = int(os.environ["LOCAL_WORLD_SIZE"])
        num_nodes = int(os.environ["WORLD_SIZE"]) // devices
        strategy = "ddp"
    else:
        devices, num_nodes, strategy = 1, 1, "auto"
    fabric = Fabric(
        accelerator=config.accelerator,
        devices=devices,
        num_nodes=num_nodes,
        strategy=strategy,
        precision=config.precision,
    )
    fabric.launch()
    if strategy == "ddp":
        atexit.register(distributed.leave)
        _warn_of_stale_addresses()
    return fabric


def _warn_of_stale_addresses() -> None:
    """Tell whoever counts on restarts how torchrun must be started for them.

    As long as its store is shared with the ranks, new ranks find in it the addresses of those that
    are gone: https://github.com/pytorch/pytorch/issues/135712.
    """
    has_restarts = os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0") != "0"
    is_shared = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    if has_restarts and is_shared and distributed.rank() == 0:
        logger.warning(
            "--max-restarts needs TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 in torchrun's environment; "
            "without it ranks that are started anew may not find each other."
        )


def _append(log: Path, record: Mapping[str, Any]) -> None:
    """Add a line to the log."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")


def _cut_log(log: Path, step: int) -> None:
    """Drop the lines of steps that were done after the checkpoint and will be done again."""
    if not log.exists():
        return
    kept = []
    for line in log.read_text(encoding="utf-8").splitlines():
        try:
            is_kept = json.loads(line)["step"] <= step
        except ValueError:  # a kill in the middle of a line
            continue
        if is_kept:
            kept.append(line + "\n")
    write_text(log, "".join(kept))
