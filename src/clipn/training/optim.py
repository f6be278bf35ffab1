"""AdamW and the learning rate, as published."""

import math

import torch
from torch import nn

from clipn.training.config import TrainConfig


def build_optimizer(module: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW with weight decay on matrices only: not on gains, biases and other vectors.

    In its fused form: the same formula in one pass over the weights.

    Args:
        module: What is trained.
        config: Its lr, betas, eps and weight_decay.
    """
    parameters = [p for p in module.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.lr, betas=config.betas, eps=config.eps, fused=True)


def learning_rate(step: int, *, num_steps: int, config: TrainConfig) -> float:
    """The learning rate of a step: a linear warm-up if there is one, then a cosine to zero.

    Args:
        step: From 0.
        num_steps: Of the whole run.
        config: Its lr and warmup_steps.
    """
    if step < config.warmup_steps:
        return config.lr * (step + 1) / config.warmup_steps
    progress = (step - config.warmup_steps) / max(1, num_steps - config.warmup_steps)
    return config.lr * 0.5 * (1 + math.cos(math.pi * progress))
