"""The score that also looks at patches."""

import re

import numpy as np
import pytest
import torch
from torch import Tensor

from clipn.scores import ImageBatch, Task, get_score, gl_mcm, mcm


@pytest.fixture
def cosines() -> Tensor:
    return 2 * torch.rand(20, 6, dtype=torch.float64) - 1


@pytest.fixture
def patch_cosines() -> Tensor:
    return 2 * torch.rand(20, 9, 6, dtype=torch.float64) - 1


@pytest.mark.parametrize(("temperature", "weight"), [(1.0, 1.0), (0.1, 0.5)])
def test_gl_mcm_is_what_numpy_computes(
    cosines: Tensor, patch_cosines: Tensor, temperature: float, weight: float
):
    def softmax(values: np.ndarray) -> np.ndarray:
        powers = np.exp(values / temperature)
        return powers / powers.sum(axis=-1, keepdims=True)

    whole = softmax(cosines.numpy()).max(axis=1)
    expected = whole + weight * softmax(patch_cosines.numpy()).max(axis=(1, 2))
    values = gl_mcm(cosines, patch_cosines, temperature=temperature, weight=weight)
    np.testing.assert_allclose(values.numpy(), expected, rtol=1e-9)


def test_without_weight_gl_mcm_is_mcm(cosines: Tensor, patch_cosines: Tensor):
    values = gl_mcm(cosines, patch_cosines, temperature=0.3, weight=0.0)
    torch.testing.assert_close(values, mcm(cosines, temperature=0.3))


def test_an_image_of_one_patch_counts_twice(cosines: Tensor):
    torch.testing.assert_close(gl_mcm(cosines, cosines[:, None]), 2 * mcm(cosines))


def test_the_order_of_the_patches_does_not_matter(cosines: Tensor, patch_cosines: Tensor):
    values = gl_mcm(cosines, patch_cosines.flip(1))
    torch.testing.assert_close(values, gl_mcm(cosines, patch_cosines))


def test_patches_are_compared_with_the_classes(full_task: Task, image: Tensor, patches: Tensor):
    values = get_score("gl_mcm").prepare(full_task)(ImageBatch(image=image, patches=patches))
    expected = gl_mcm(image @ full_task.yes.T, patches @ full_task.yes.T)
    torch.testing.assert_close(values, expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": -1.0}, "temperature must be above 0; got -1.0"),
        ({"weight": -0.5}, "weight must be at least 0; got -0.5"),
    ],
)
def test_wrong_options_are_refused(
    cosines: Tensor, patch_cosines: Tensor, options: dict, message: str
):
    with pytest.raises(ValueError, match=re.escape(message)):
        gl_mcm(cosines, patch_cosines, **options)
