"""Stops a run before numbers that are none reach its weights or its checkpoints."""

import math
from pathlib import Path

import torch
from torch import nn

from clipn import distributed
from clipn.data.embedding_cache import EmbeddingCache
from clipn.errors import TrainingError
from clipn.files import write_json
from clipn.losses import ClipnLoss
from clipn.training.batches import Batch

ADVICE = "The last checkpoint is as it was. A lower lr or precision 32-true may help."


def refuse_nan_loss(
    losses: ClipnLoss, *, step: int, batch: Batch, cache: EmbeddingCache, folder: Path
) -> None:
    """Stop where the loss of a step is no finite number, and say which pairs it came from.

    Every rank has to call it, with the same losses.

    Args:
        losses: Of the whole batch.
        step: From 1.
        batch: This rank's part of it.
        cache: The pairs.
        folder: Gets `nan-step-N.json`: the terms, and shard and place of every pair of the batch,
            with those first whose embeddings are no numbers.

    Raises:
        TrainingError: If the loss is no finite number.
    """
    terms = {name: value.item() for name, value in losses._asdict().items()}
    if math.isfinite(terms["total"]):
        return
    embeddings = (batch.pairs.image, batch.pairs.yes)
    is_bad = ~torch.stack([part.isfinite().all(dim=1) for part in embeddings]).all(dim=0)
    marked = list(zip(batch.rows.tolist(), is_bad.tolist(), strict=True))
    everywhere = sorted(
        (pair for part in distributed.exchange(marked) for pair in part),
        key=lambda pair: not pair[1],
    )
    pairs = [
        {"shard": shard, "pair": number, "row": row, "is_finite": not is_bad}
        for row, is_bad in everywhere
        for shard, number in [cache.locate(row)]
    ]
    report = folder / f"nan-step-{step}.json"
    named = {name: f"{value:.4g}" for name, value in terms.items()}  # JSON has no NaN
    if distributed.rank() == 0:
        write_json(report, {"step": step, "terms": named, "pairs": pairs})
    first, num_bad = pairs[0], sum(not pair["is_finite"] for pair in pairs)
    cause = (
        f"{num_bad} of its {len(pairs)} pairs have embeddings that are no numbers, the first is "
        f"pair {first['pair']} of {first['shard']}"
        if num_bad
        else f"the embeddings of its {len(pairs)} pairs are all finite"
    )
    found = ", ".join(f"{name} {value}" for name, value in named.items())
    raise TrainingError(
        f"The loss of step {step} is no longer a finite number ({found}); {cause}. "
        f"{report} lists the batch. {ADVICE}"
    )


def refuse_nan_weights(module: nn.Module, *, step: int) -> None:
    """Stop before weights that are no numbers become a checkpoint.

    Args:
        module: What is trained.
        step: Steps done.

    Raises:
        TrainingError: If a weight is no finite number.
    """
    for name, parameter in module.named_parameters():
        if not parameter.isfinite().all():
            raise TrainingError(
                f"The weights {name} are no longer finite numbers after step {step}. {ADVICE}"
            )
