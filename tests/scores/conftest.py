"""Small tasks with random embeddings."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from clipn.scores import Task


def random_embeddings(*shape: int, seed: int = 0) -> Tensor:
    """L2-normalised, float64."""
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(*shape, generator=generator, dtype=torch.float64), dim=-1)


@pytest.fixture
def image() -> Tensor:
    return random_embeddings(40, 8, seed=1)


@pytest.fixture
def patches() -> Tensor:
    return random_embeddings(40, 9, 8, seed=2)


@pytest.fixture
def full_task() -> Task:
    """A task that serves every score but those with gradients."""
    return Task(
        yes=random_embeddings(5, 8, seed=3),
        tau=20.0,
        no=random_embeddings(5, 8, seed=4),
        id_image=random_embeddings(30, 8, seed=5),
        id_labels=torch.arange(30) % 5,
        negatives=random_embeddings(203, 8, seed=6),
        outliers=random_embeddings(7, 8, seed=7),
    )
