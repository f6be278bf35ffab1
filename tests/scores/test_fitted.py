"""React and the fine-tuned probe, beside pytorch-ood, numpy and scikit-learn."""

import re
import warnings

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from clipn.scores import (
    ImageBatch,
    Task,
    energy,
    fit_probe,
    fort,
    get_score,
    msp,
    react,
    react_limit,
)


@pytest.mark.parametrize("percentile", [50.0, 90.0, 97.5])
def test_react_is_that_of_pytorch_ood(full_task: Task, image: Tensor, percentile: float):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the many libraries that it imports
        from pytorch_ood.detector import ReAct
    assert full_task.id_image is not None
    assert full_task.id_labels is not None
    theirs = ReAct(
        backbone=lambda embeddings: embeddings,
        head=lambda embeddings: full_task.tau * embeddings @ full_task.yes.T,
        percentile=percentile / 100,
    ).fit_feature_maps(full_task.id_image, full_task.id_labels)
    ours = get_score("react").prepare(full_task, percentile=percentile)(ImageBatch(image=image))
    expected = -theirs.predict_feature_maps(image)
    torch.testing.assert_close(ours, expected, rtol=1e-6, atol=1e-6)


def test_react_is_what_numpy_computes(full_task: Task, image: Tensor):
    assert full_task.id_image is not None
    limit = react_limit(full_task.id_image, percentile=80.0)
    assert limit == pytest.approx(np.percentile(full_task.id_image.numpy(), 80.0), abs=1e-12)
    logits = 20 * np.minimum(image.numpy(), limit) @ full_task.yes.numpy().T
    expected = np.log(np.exp(logits).sum(axis=1))
    values = react(image, full_task.yes, tau=20.0, limit=limit)
    np.testing.assert_allclose(values.numpy(), expected, rtol=1e-9)


def test_react_that_cuts_nothing_is_energy(full_task: Task, image: Tensor):
    values = react(image, full_task.yes, tau=20.0, limit=1.0)
    torch.testing.assert_close(values, energy(20 * image @ full_task.yes.T))


def test_the_limit_of_half_precision_images_is_found(full_task: Task):
    assert full_task.id_image is not None
    exact = react_limit(full_task.id_image, percentile=90.0)
    for dtype in (torch.float16, torch.bfloat16, torch.float32):
        rounded = react_limit(full_task.id_image.to(dtype), percentile=90.0)
        assert rounded == pytest.approx(exact, abs=1e-2)


@pytest.mark.parametrize("percentile", [-1.0, 100.5, float("nan")])
def test_a_percentile_out_of_range_is_refused(percentile: float):
    with pytest.raises(ValueError, match="percentile must lie between 0 and 100"):
        react_limit(torch.eye(2), percentile=percentile)


def test_no_image_to_fit_on_is_refused():
    nothing = torch.zeros(0, 2)
    with pytest.raises(ValueError, match="at least one embedding"):
        react_limit(nothing, percentile=90.0)
    with pytest.raises(ValueError, match="at least one embedding"):
        fit_probe(nothing, torch.zeros(0, dtype=torch.long), torch.eye(2), tau=1.0)


# The probe


def test_the_probe_is_a_logistic_regression_where_it_starts_from_nothing(full_task: Task):
    """With tau near 0 the zero-shot classifier, from which the distance counts, is no classifier.

    scikit-learn leaves its bias out of the penalty, ours is one more weight: hence the column of
    ones instead of its own bias.
    """
    image, labels = full_task.id_image, full_task.id_labels
    assert image is not None
    assert labels is not None
    l2 = 0.3
    probe = fit_probe(image, labels, full_task.yes, tau=1e-12, l2=l2, max_steps=200)
    theirs = LogisticRegression(C=1 / l2, fit_intercept=False, tol=1e-10)
    theirs.set_params(max_iter=2000)
    theirs.fit(np.concatenate([image.numpy(), np.ones((len(image), 1))], axis=1), labels.numpy())
    np.testing.assert_allclose(probe.weight.numpy(), theirs.coef_[:, :-1], atol=1e-4)
    np.testing.assert_allclose(probe.bias.numpy(), theirs.coef_[:, -1], atol=1e-4)


def test_the_gradient_vanishes_where_the_probe_ends(full_task: Task):
    image, labels, yes = full_task.id_image, full_task.id_labels, full_task.yes
    assert image is not None
    assert labels is not None
    probe = fit_probe(image, labels, yes, tau=20.0, l2=0.3, max_steps=300)
    weight = probe.weight.clone().requires_grad_()
    bias = probe.bias.clone().requires_grad_()
    loss = torch.nn.functional.cross_entropy(image @ weight.T + bias, labels, reduction="sum")
    loss = loss + 0.15 * ((weight - 20.0 * yes).square().sum() + bias.square().sum())
    loss.backward()
    assert weight.grad is not None
    assert bias.grad is not None
    assert weight.grad.abs().max() < 1e-3
    assert bias.grad.abs().max() < 1e-3


def test_fine_tuning_learns_what_texts_say_wrong():
    yes = torch.eye(3, 4)
    labels = torch.arange(60) % 3
    image = torch.nn.functional.normalize(
        torch.eye(3, 4)[(labels + 1) % 3] + 0.1 * torch.randn(60, 4), dim=1
    )
    assert ((image @ yes.T).argmax(dim=1) != labels).all()
    probe = fit_probe(image, labels, yes, tau=10.0, l2=0.01)
    assert ((image.double() @ probe.weight.T + probe.bias).argmax(dim=1) == labels).all()
    assert probe.weight.dtype == torch.float64


def test_a_strong_penalty_leaves_the_zero_shot_classifier(full_task: Task, image: Tensor):
    scorer = get_score("fort").prepare(full_task, l2=1e9)
    zero_shot = msp(20 * image @ full_task.yes.T)
    torch.testing.assert_close(scorer(ImageBatch(image=image)), zero_shot, rtol=1e-6, atol=1e-6)


def test_the_same_images_give_the_same_probe_in_pieces_and_in_inference_mode(
    full_task: Task, monkeypatch: pytest.MonkeyPatch
):
    inputs = (full_task.id_image, full_task.id_labels, full_task.yes)
    first = fit_probe(*inputs, tau=20.0)
    again = fit_probe(*inputs, tau=20.0)
    torch.testing.assert_close(again.weight, first.weight, rtol=0, atol=0)
    monkeypatch.setattr("clipn.scores.fitted.CHUNK", 7)
    with torch.inference_mode():
        pieces = fit_probe(*(tensor.clone() for tensor in inputs), tau=20.0)
    torch.testing.assert_close(pieces.weight, first.weight, rtol=1e-3, atol=1e-3)


def test_fort_is_the_softmax_of_the_probe(full_task: Task, image: Tensor):
    assert full_task.id_image is not None
    assert full_task.id_labels is not None
    probe = fit_probe(full_task.id_image, full_task.id_labels, full_task.yes, tau=20.0, l2=1.0)
    values = get_score("fort").prepare(full_task, l2=1.0)(ImageBatch(image=image))
    torch.testing.assert_close(values, fort(image, probe.weight, probe.bias))
    logits = (image @ probe.weight.T + probe.bias).numpy()
    powers = np.exp(logits)
    np.testing.assert_allclose(
        values.numpy(), (powers / powers.sum(axis=1, keepdims=True)).max(axis=1), rtol=1e-9
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"l2": 0.0}, "l2 must be above 0; got 0.0"),
        ({"max_steps": 0}, "max_steps must be at least 1; got 0"),
        ({"id_labels": torch.tensor([0, 2])}, "id_labels must be classes from 0 to 1; got 0 to 2"),
        ({"id_labels": torch.tensor([-1, 0])}, "id_labels must be classes from 0 to 1; got -1 to"),
    ],
)
def test_wrong_options_are_refused(changes: dict, message: str):
    inputs = {"id_image": torch.eye(2), "id_labels": torch.tensor([0, 1]), "yes": torch.eye(2)}
    with pytest.raises(ValueError, match=re.escape(message)):
        fit_probe(**{**inputs, "tau": 1.0, **changes})
