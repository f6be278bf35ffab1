"""AdamW's groups and the learning rate, as published."""

import math
from pathlib import Path

import pytest
import torch
from torch import nn

from clipn.training import PairsConfig, TrainConfig
from clipn.training.optim import build_optimizer, learning_rate


def config(**changes):
    settings = {"model": "small", "out_dir": Path("run"), **changes}
    return TrainConfig(pairs=PairsConfig(source="pairs.csv"), **settings)


def test_what_has_one_dimension_is_not_decayed(fresh_model):
    model = fresh_model()
    model.add_no_tower()
    tower = model.no_tower
    decayed, spared = build_optimizer(tower, config(weight_decay=0.2)).param_groups
    assert (decayed["weight_decay"], spared["weight_decay"]) == (0.2, 0.0)
    names = {parameter: name for name, parameter in tower.named_parameters()}
    decayed_names = {names[parameter] for parameter in decayed["params"]}
    spared_names = {names[parameter] for parameter in spared["params"]}
    assert decayed_names | spared_names == set(names.values())
    assert not decayed_names & spared_names
    assert {"prompts", "text.positional_embedding", "text.text_projection"} <= decayed_names
    assert all("bias" in name or ".ln_" in name for name in spared_names)
    assert not any("bias" in name or ".ln_" in name for name in decayed_names)
    assert len(spared_names) == 10  # two norms, in-projection, out-projection, MLP twice, last norm


def test_frozen_parameters_are_left_out():
    module = nn.Linear(3, 2)
    module.weight.requires_grad_(False)
    decayed, spared = build_optimizer(module, config()).param_groups
    assert decayed["params"] == []
    assert spared["params"] == [module.bias]


def test_adamw_has_the_settings_of_the_run():
    optimizer = build_optimizer(nn.Linear(3, 2), config(lr=0.01, betas=(0.5, 0.6), eps=1e-3))
    for group in optimizer.param_groups:
        assert (group["lr"], group["betas"], group["eps"]) == (0.01, (0.5, 0.6), 1e-3)


def test_the_cosine_starts_at_the_rate_and_ends_at_zero():
    rates = [learning_rate(step, num_steps=1000, config=config(lr=0.1)) for step in range(1000)]
    assert rates[0] == 0.1
    assert rates[500] == pytest.approx(0.05)
    assert 0 < rates[-1] < 1e-6
    assert rates == sorted(rates, reverse=True)


def test_the_cosine_is_that_of_pytorch():
    parameter = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=50)
    for step in range(50):
        expected = optimizer.param_groups[0]["lr"]
        assert learning_rate(step, num_steps=50, config=config(lr=0.1)) == pytest.approx(expected)
        optimizer.step()
        schedule.step()


def test_a_warm_up_is_a_straight_line_and_the_cosine_follows():
    warm = config(lr=0.1, warmup_steps=4)
    rates = [learning_rate(step, num_steps=104, config=warm) for step in range(104)]
    assert rates[:4] == pytest.approx([0.025, 0.05, 0.075, 0.1])
    assert rates[4] == 0.1
    assert rates[54] == pytest.approx(0.05)
    assert rates[-1] == pytest.approx(0.05 * (1 - math.cos(math.pi / 100)))


def test_a_run_may_be_all_warm_up():
    warm = config(lr=0.1, warmup_steps=10)
    rates = [learning_rate(step, num_steps=3, config=warm) for step in range(3)]
    assert rates == pytest.approx([0.01, 0.02, 0.03])
