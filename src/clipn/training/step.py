"""One step: the losses of a whole batch and their gradients, in the memory of a micro-batch."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from jaxtyping import Float
from lightning_fabric import Fabric
from lightning_fabric.wrappers import _FabricModule
from torch import Tensor

from clipn import distributed
from clipn.losses import ClipnLoss, PairKeys, clipn_loss
from clipn.model.no_tower import NoTower
from clipn.training.batches import Batch
from clipn.training.config import TrainConfig


def take_gradients(
    trainee: _FabricModule, batch: Batch, *, fabric: Fabric, tau: float, config: TrainConfig
) -> ClipnLoss:
    """Add the gradients of a batch's loss to those of the no tower; every rank has to call it.

    The losses compare all pairs of a batch with each other, so gradients of parts of a batch do not
    add up to those of the whole. With micro-batches all texts are embedded first, without a graph;
    the losses of the whole batch then give the gradient of every embedding; with these each
    micro-batch is embedded once more and taken back through the tower. Loss and gradients are those
    of a step without micro-batches, at the cost of a second forward pass.

    Args:
        trainee: The no tower, set up by Fabric.
        batch: This rank's pairs.
        fabric: Of the run.
        tau: Temperature.
        config: Its micro_batch_size, hardness and losses.

    Returns:
        The losses of the whole batch, the same on every rank, without a graph.
    """
    parts = list(_split(batch, config.micro_batch_size, fabric.device))
    is_whole = len(parts) == 1
    with torch.set_grad_enabled(is_whole):
        embedded = [trainee(*part).float() for part in parts]
    texts = torch.cat([part.detach() for part in embedded]).requires_grad_()
    shares = _losses_of_embeddings(texts, batch, tau=tau, config=config)
    shares.total.backward()
    assert texts.grad is not None
    gradients = texts.grad.split([len(part) for part in embedded])
    for number, (part, gradient) in enumerate(zip(parts, gradients, strict=True), start=1):
        with fabric.no_backward_sync(trainee, enabled=number < len(parts)):
            rows = embedded[0] if is_whole else trainee(*part).float()
            fabric.backward(rows, gradient=gradient)
    losses = distributed.total(torch.stack(shares).detach()) / distributed.world_size()
    return ClipnLoss(*losses.unbind())


def clear_gradients(no_tower: NoTower) -> None:
    """Forget the gradients of a step.

    On CPUs the table of token embeddings, by far the largest of the weights, keeps its own as
    zeros, so that a step adds to the rows of its tokens alone: see `TextTower`.

    Args:
        no_tower: What is trained.
    """
    table = no_tower.text.token_embedding.weight
    kept = table.grad
    no_tower.zero_grad(set_to_none=True)
    if table.device.type == "cpu" and table.requires_grad:
        table.grad = torch.zeros_like(table) if kept is None else kept.zero_()


def _split(
    batch: Batch, micro_batch_size: int | None, device: torch.device
) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Tokens and prompts of the texts of each micro-batch, on the device."""
    size = micro_batch_size or len(batch.tokens)
    for start in range(0, len(batch.tokens), size):
        own = slice(start, start + size)
        prompt_ids = None if batch.prompt_ids is None else batch.prompt_ids[own]
        yield (
            _send(batch.tokens[own], device),
            None if prompt_ids is None else _send(prompt_ids, device),
        )


def _send(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor on the device; to a GPU it travels while the CPU goes on."""
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def _losses_of_embeddings(
    texts: Float[Tensor, "texts dim"], batch: Batch, *, tau: float, config: TrainConfig
) -> ClipnLoss:
    """This rank's share of the losses."""
    device, pairs = texts.device, batch.pairs
    # As an embedding: the gradient of plain indexing is summed up in no fixed order on CPUs.
    no = F.embedding(_send(batch.text_of_pair, device), texts)
    return clipn_loss(
        _send(pairs.image, device),
        _send(pairs.yes, device),
        no,
        tau=tau,
        keys=PairKeys(_send(pairs.caption_keys, device), _send(pairs.class_ids, device)),
        hardness=config.hardness,
        parts=config.losses,
        seed=batch.seed,
    )
