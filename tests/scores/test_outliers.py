"""The score that knows names of outliers."""

import re

import numpy as np
import pytest
import torch
from torch import Tensor

from clipn.scores import ImageBatch, Task, eoe, get_score, mcm


@pytest.fixture
def cosines() -> Tensor:
    return 2 * torch.rand(20, 6, dtype=torch.float64) - 1


@pytest.fixture
def outlier_cosines() -> Tensor:
    return 2 * torch.rand(20, 4, dtype=torch.float64) - 1


@pytest.mark.parametrize(("temperature", "beta"), [(1.0, 0.25), (0.01, 1.0)])
def test_eoe_is_what_numpy_computes(
    cosines: Tensor, outlier_cosines: Tensor, temperature: float, beta: float
):
    powers = np.exp(np.concatenate([cosines, outlier_cosines], axis=1) / temperature)
    p = powers / powers.sum(axis=1, keepdims=True)
    values = eoe(cosines, outlier_cosines, temperature=temperature, beta=beta)
    expected = p[:, :6].max(axis=1) - beta * p[:, 6:].max(axis=1)
    np.testing.assert_allclose(values.numpy(), expected, rtol=1e-9, atol=1e-12)


def test_without_beta_eoe_is_the_best_class_among_classes_and_outliers(
    cosines: Tensor, outlier_cosines: Tensor
):
    """Which is mcm, where no outlier is likelier than every class."""
    values = eoe(cosines, outlier_cosines - 2.0, beta=0.0)
    together = torch.cat([cosines, outlier_cosines - 2.0], dim=1)
    torch.testing.assert_close(values, mcm(together))


def test_outliers_that_are_never_likely_leave_mcm(cosines: Tensor, outlier_cosines: Tensor):
    values = eoe(cosines, outlier_cosines - 1e4)
    torch.testing.assert_close(values, mcm(cosines))


def test_an_outlier_that_fits_better_lowers_the_score(cosines: Tensor, outlier_cosines: Tensor):
    better = outlier_cosines.clone()
    better[:, 0] += 0.5
    assert (eoe(cosines, better) < eoe(cosines, outlier_cosines)).all()


def test_outliers_are_compared_by_raw_cosines(full_task: Task, image: Tensor):
    assert full_task.outliers is not None
    values = get_score("eoe").prepare(full_task)(ImageBatch(image=image))
    torch.testing.assert_close(values, eoe(image @ full_task.yes.T, image @ full_task.outliers.T))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": 0.0}, "temperature must be above 0; got 0.0"),
        ({"beta": -1.0}, "beta must be at least 0; got -1.0"),
    ],
)
def test_wrong_options_are_refused(
    cosines: Tensor, outlier_cosines: Tensor, options: dict, message: str
):
    with pytest.raises(ValueError, match=re.escape(message)):
        eoe(cosines, outlier_cosines, **options)


def test_no_outlier_is_refused(cosines: Tensor):
    with pytest.raises(ValueError, match="at least one outlier"):
        eoe(cosines, cosines[:, :0])
