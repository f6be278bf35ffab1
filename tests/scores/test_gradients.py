"""ODIN, beside pytorch-ood and beside numpy."""

import re
import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clipn.scores import ImageBatch, Task, get_score, msp, odin

STD = (0.2, 0.5, 1.0)


@pytest.fixture
def pixels() -> Tensor:
    return torch.randn(6, 3, 4, 4, dtype=torch.float64)


@pytest.fixture
def network() -> nn.Module:
    """Small, and not linear."""
    return nn.Sequential(nn.Flatten(), nn.Linear(48, 16), nn.Tanh(), nn.Linear(16, 5)).double()


@pytest.mark.parametrize("epsilon", [0.0014, 0.05])
@pytest.mark.parametrize("temperature", [1.0, 1000.0])
def test_odin_is_that_of_pytorch_ood(
    pixels: Tensor, network: nn.Module, epsilon: float, temperature: float
):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the many libraries that it imports
        from pytorch_ood.detector import ODIN
    theirs = ODIN(network, eps=epsilon, temperature=temperature, norm_std=list(STD))
    ours = odin(pixels, network, pixel_std=STD, epsilon=epsilon, logit_temperature=temperature)
    torch.testing.assert_close(ours, -theirs.predict(pixels), rtol=1e-6, atol=1e-6)


def test_a_linear_network_s_gradient_worked_out_by_hand(pixels: Tensor):
    weight = torch.randn(48, 5, dtype=torch.float64)
    options = {"pixel_std": STD, "epsilon": 0.1, "logit_temperature": 2.0}
    values = odin(pixels, lambda x: x.flatten(1) @ weight, **options)
    x, w = pixels.flatten(1).numpy(), weight.numpy() / 2.0
    powers = np.exp(x @ w)
    p = powers / powers.sum(axis=1, keepdims=True)
    gradient = w[:, p.argmax(axis=1)].T - p @ w.T  # of log p_best
    moved = x + 0.1 * np.sign(gradient) / np.repeat(STD, 16)
    powers = np.exp(moved @ w)
    expected = (powers / powers.sum(axis=1, keepdims=True)).max(axis=1)
    np.testing.assert_allclose(values.numpy(), expected, rtol=1e-9)


def test_without_a_step_odin_is_the_softmax_of_heated_logits(pixels: Tensor, network: nn.Module):
    values = odin(pixels, network, pixel_std=STD, epsilon=0.0, logit_temperature=7.0)
    torch.testing.assert_close(values, msp(network(pixels) / 7.0))


def test_a_step_makes_every_image_surer(pixels: Tensor, network: nn.Module):
    still = odin(pixels, network, pixel_std=STD, epsilon=0.0, logit_temperature=10.0)
    moved = odin(pixels, network, pixel_std=STD, epsilon=1e-4, logit_temperature=10.0)
    assert (moved > still).all()


def test_the_score_works_in_inference_mode_and_leaves_no_gradients(
    pixels: Tensor, network: nn.Module
):
    def encode_image(pixels: Tensor) -> Tensor:
        return F.normalize(network(pixels), dim=1)

    with torch.inference_mode():
        yes = F.normalize(torch.randn(3, 5, dtype=torch.float64), dim=1)
        task = Task(yes=yes, tau=100.0, encode_image=encode_image, pixel_std=STD)
        copy = pixels.clone()
        scorer = get_score("odin").prepare(task, epsilon=0.01)
        inside = scorer(ImageBatch(image=encode_image(copy), pixels=copy))
    with torch.no_grad():
        outside = scorer(ImageBatch(image=encode_image(pixels), pixels=pixels))
    torch.testing.assert_close(inside, outside)
    assert not outside.requires_grad
    assert all(parameter.grad is None for parameter in network.parameters())
    expected = odin(
        pixels, lambda x: 100 * encode_image(x) @ yes.clone().T, pixel_std=STD, epsilon=0.01
    )
    torch.testing.assert_close(outside, expected)


def test_a_batch_without_pixels_is_refused():
    task = Task(yes=torch.eye(2), tau=1.0, encode_image=torch.flatten, pixel_std=STD)
    with pytest.raises(ValueError, match="'odin' needs pixels; the batch has none"):
        get_score("odin").prepare(task)(ImageBatch(image=torch.eye(2)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epsilon": -0.1}, "epsilon must be at least 0; got -0.1"),
        ({"logit_temperature": 0.0}, "logit_temperature must be above 0; got 0.0"),
        ({"pixel_std": (1.0,)}, "pixel_std must hold a deviation for each of 3 channels; got 1"),
    ],
)
def test_wrong_options_are_refused(pixels: Tensor, network: nn.Module, options: dict, message: str):
    with pytest.raises(ValueError, match=re.escape(message)):
        odin(pixels, network, **{"pixel_std": STD, **options})
