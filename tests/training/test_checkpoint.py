"""Checkpoints: what comes back, which one counts, and what is refused."""

import json
import shutil

import pytest
import torch
from torch import nn

from clipn.errors import TrainingError
from clipn.training.checkpoint import load_last_checkpoint, restore, save_checkpoint

RECIPE = {"lr": 0.1, "pairs": {"source": "a.csv", "templates": ["a {}"]}, "variant": "learnable"}
SCALER = {"scale": 65536.0, "growth_factor": 2.0, "_growth_tracker": 3}


def build():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(5, 4), nn.LayerNorm(4), nn.Linear(4, 3))
    return module, torch.optim.AdamW(module.parameters(), lr=0.1)


def step(module, optimizer, number):
    generator = torch.Generator().manual_seed(number)
    optimizer.zero_grad()
    module(torch.randn(8, 5, generator=generator)).square().sum().backward()
    optimizer.step()


@pytest.fixture
def save(tmp_path):
    def run(step_number, recipe=RECIPE):
        module, optimizer = build()
        step(module, optimizer, step_number)
        save_checkpoint(
            tmp_path / "checkpoints",
            step=step_number,
            recipe=recipe,
            module=module,
            optimizer=optimizer,
            scaler=SCALER,
        )
        return tmp_path / "checkpoints" / f"step-{step_number:08d}"

    return run


def test_weights_and_moments_come_back_bit_for_bit_and_so_do_the_next_steps(tmp_path):
    module, optimizer = build()
    for number in range(3):
        step(module, optimizer, number)
    save_checkpoint(
        tmp_path, step=3, recipe=RECIPE, module=module, optimizer=optimizer, scaler=SCALER
    )
    found = load_last_checkpoint(tmp_path, recipe=RECIPE)
    assert (found.step, found.recipe, found.scaler) == (3, RECIPE, SCALER)
    other_module, other_optimizer = build()
    restore(found, module=other_module, optimizer=other_optimizer)
    for number in range(3, 6):
        states = [
            (other_optimizer.state[other], optimizer.state[own])
            for other, own in zip(other_module.parameters(), module.parameters(), strict=True)
        ]
        for restored, original in states:
            assert restored.keys() == original.keys() == {"step", "exp_avg", "exp_avg_sq"}
            assert all(torch.equal(restored[name], original[name]) for name in original)
        step(module, optimizer, number)
        step(other_module, other_optimizer, number)
        for other, own in zip(other_module.parameters(), module.parameters(), strict=True):
            assert torch.equal(other, own)


def test_two_restored_runs_share_no_memory_with_the_checkpoint(tmp_path):
    module, optimizer = build()
    step(module, optimizer, 0)
    save_checkpoint(
        tmp_path, step=1, recipe=RECIPE, module=module, optimizer=optimizer, scaler=SCALER
    )
    found = load_last_checkpoint(tmp_path, recipe=RECIPE)
    weights = {name: tensor.clone() for name, tensor in found.weights.items()}
    moments = {name: tensor.clone() for name, tensor in found.moments.items()}
    other_module, other_optimizer = build()
    restore(found, module=other_module, optimizer=other_optimizer)
    step(other_module, other_optimizer, 1)
    assert all(torch.equal(found.weights[name], tensor) for name, tensor in weights.items())
    assert all(torch.equal(found.moments[name], tensor) for name, tensor in moments.items())


def test_there_is_none_before_the_first(tmp_path):
    assert load_last_checkpoint(tmp_path / "none", recipe=RECIPE) is None


def test_the_last_one_counts_and_only_two_are_kept(save, tmp_path):
    for number in (2, 500, 1000, 99999999):
        save(number)
    assert load_last_checkpoint(tmp_path / "checkpoints", recipe=RECIPE).step == 99999999
    left = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert left == ["step-00001000", "step-99999999"]


def test_what_was_being_written_never_counts(save, tmp_path):
    whole = save(4)
    shutil.copytree(whole, tmp_path / "checkpoints" / ".aside")
    whole.rename(tmp_path / "moved")
    assert load_last_checkpoint(tmp_path / "checkpoints", recipe=RECIPE) is None
    save(6)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000006"]


@pytest.mark.parametrize("max_bytes", [100, 600], ids=["weights", "moments"])
def test_a_full_disk_leaves_the_checkpoints_as_they_were(
    save, tmp_path, limit_file_size, max_bytes
):
    save(2)
    save(4)
    cause = r"The checkpoint of step 6 cannot be written: .*File too large.* make room"
    with limit_file_size(max_bytes), pytest.raises(TrainingError, match=cause):
        save(6)
    folder = tmp_path / "checkpoints"
    assert sorted(path.name for path in folder.iterdir()) == ["step-00000002", "step-00000004"]
    assert load_last_checkpoint(folder, recipe=RECIPE).step == 4


@pytest.mark.parametrize("name", ["state.json", "weights.safetensors", "optimizer.safetensors"])
@pytest.mark.parametrize("damage", ["missing", "empty", "truncated", "nonsense"])
def test_a_damaged_one_is_named_and_without_it_the_one_before_counts(save, tmp_path, name, damage):
    save(2)
    file = save(4) / name
    content = file.read_bytes()
    contents = {"empty": b"", "truncated": content[: len(content) // 2], "nonsense": b"\x80\x04K."}
    if damage == "missing":
        file.unlink()
    else:
        file.write_bytes(contents[damage])
    folder = tmp_path / "checkpoints"
    with pytest.raises(TrainingError, match=r"step-00000004 cannot be read .* delete it to go on"):
        load_last_checkpoint(folder, recipe=RECIPE)
    shutil.rmtree(folder / "step-00000004")
    assert load_last_checkpoint(folder, recipe=RECIPE).step == 2


@pytest.mark.parametrize(
    "state", [[], {"step": None, "recipe": {}}, {"step": 4}, {"step": 4, "recipe": 3}]
)
def test_a_state_of_another_form_is_refused(save, tmp_path, state):
    (save(4) / "state.json").write_text(json.dumps(state))
    with pytest.raises(TrainingError, match="step-00000004 cannot be read"):
        load_last_checkpoint(tmp_path / "checkpoints", recipe=RECIPE)


@pytest.mark.parametrize(
    ("recipe", "what"),
    [
        ({**RECIPE, "lr": 0.2}, "settings: lr was 0.1 and is 0.2. Use"),
        (
            {**RECIPE, "pairs": {**RECIPE["pairs"], "source": "b.csv"}},
            "settings: pairs.source was 'a.csv' and is 'b.csv'. Use",
        ),
        ({**RECIPE, "new": True}, "settings: new was None and is True. Use"),
        (
            {**RECIPE, "lr": 1, "variant": "handcrafted"},
            "lr was 0.1 and is 1; variant was 'learnable' and is 'handcrafted'. Use",
        ),
    ],
)
def test_other_settings_are_refused_by_name(save, tmp_path, recipe, what):
    save(4)
    with pytest.raises(TrainingError, match=what) as caught:
        load_last_checkpoint(tmp_path / "checkpoints", recipe=recipe)
    assert str(caught.value).startswith(f"{tmp_path} holds a run with other settings")
