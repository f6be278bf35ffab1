"""What makes a step smaller or faster leaves its outcome as it is."""

import json
from dataclasses import replace

import pytest
import step_of_ranks
import torch
from lightning_fabric import Fabric
from ranks import run_ranks

from clipn.model.no_tower import NoTower
from clipn.training import train
from clipn.training.batches import BatchPlan
from clipn.training.step import clear_gradients, take_gradients


@pytest.fixture
def batch(cache):
    return BatchPlan(cache=cache, batch_size=24, num_prompts=4, seed=0).read(0)


@pytest.fixture
def take(configure, fresh_model):
    """Losses and gradients of a step of a no tower that is no longer the yes tower."""

    def run(batch, *, clear=True, precision="32-true", **changes):
        fabric = Fabric(accelerator="cpu", devices=1, precision=precision)
        model = fresh_model()
        model.add_no_tower(num_prompts=4)
        generator = torch.Generator().manual_seed(5)
        with torch.no_grad():
            for parameter in model.no_tower.parameters():
                parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
        trainee = fabric.setup(model.no_tower)
        if clear:
            clear_gradients(model.no_tower)
        config = configure(**changes)
        losses = take_gradients(trainee, batch, fabric=fabric, tau=model.tau, config=config)
        return losses, {n: p.grad for n, p in model.no_tower.named_parameters()}, model.no_tower

    return run


def assert_same(found, expected, *, tolerance=1e-6):
    torch.testing.assert_close(found[0], expected[0], atol=1e-6, rtol=0)
    assert found[1].keys() == expected[1].keys()
    for name, gradient in expected[1].items():
        scale = gradient.abs().max().item()
        assert scale > 0, name
        torch.testing.assert_close(
            found[1][name], gradient, atol=tolerance * scale, rtol=0, msg=name
        )


@pytest.mark.parametrize("hardness", [0.0, 0.5])
@pytest.mark.parametrize("size", [1, 5, 8, 23, 24])
def test_micro_batches_have_the_loss_and_gradients_of_the_whole_batch(take, batch, size, hardness):
    whole = take(batch, hardness=hardness)
    parts = take(batch, micro_batch_size=size, hardness=hardness)
    assert_same(parts, whole, tolerance=5e-6)


def test_parts_of_a_batch_on_their_own_would_have_other_gradients(take, cache, batch):
    half = BatchPlan(cache=cache, batch_size=12, num_prompts=4, seed=0)
    ((_, whole, _), *parts) = (take(batch), take(half.read(0)), take(half.read(1)))
    name = "text.text_projection"
    average = sum(gradients[name] for _, gradients, _ in parts) / 2
    assert (average - whole[name]).abs().max() > 0.01 * whole[name].abs().max()


@pytest.mark.parametrize("size", [None, 7])
def test_texts_that_pairs_share_count_for_each_of_them(take, batch, size):
    shared = replace(
        batch,
        tokens=batch.tokens[:6],
        prompt_ids=batch.prompt_ids[:6],
        text_of_pair=torch.arange(24) % 6,
    )
    repeated = replace(
        batch,
        tokens=batch.tokens[:6].repeat(4, 1),
        prompt_ids=batch.prompt_ids[:6].repeat(4),
        text_of_pair=torch.arange(24),
    )
    assert_same(take(shared, micro_batch_size=size), take(repeated))


def test_only_one_micro_batch_is_kept_at_a_time(take, batch):
    kept = []
    for size in (24, 6):
        now = most = 0

        class Kept:
            def __init__(self, tensor):
                nonlocal now, most
                self.tensor, self.size = tensor, tensor.numel()
                now += self.size
                most = max(most, now)

            def __del__(self):
                nonlocal now
                now -= self.size

        with torch.autograd.graph.saved_tensors_hooks(Kept, lambda kept: kept.tensor):
            take(batch, micro_batch_size=size, grad_checkpointing=False)
        kept.append(most)
    assert kept[1] < 0.5 * kept[0]


def test_tokens_gradients_added_row_by_row_are_those_of_a_new_table(take, batch):
    kept, new = take(batch, clear=True), take(batch, clear=False)
    assert_same(kept, new, tolerance=1e-7)
    assert not kept[1]["text.token_embedding.weight"].is_sparse


def test_clearing_leaves_no_gradient_of_the_step_before(take, batch):
    _, gradients, no_tower = take(batch)
    table = gradients["text.token_embedding.weight"]
    assert table.any()
    clear_gradients(no_tower)
    assert no_tower.text.token_embedding.weight.grad is table
    assert not table.any()
    others = [p.grad for n, p in no_tower.named_parameters() if "token_embedding" not in n]
    assert others
    assert all(gradient is None for gradient in others)


def test_mixed_precision_keeps_weights_and_gradients_in_single_precision(take, batch):
    whole, half = take(batch), take(batch, precision="bf16-mixed", micro_batch_size=7)
    assert {gradient.dtype for gradient in half[1].values()} == {torch.float32}
    assert {parameter.dtype for parameter in half[2].parameters()} == {torch.float32}
    assert half[0].total.item() == pytest.approx(whole[0].total.item(), rel=0.02)
    assert half[0].total != whole[0].total


@pytest.mark.parametrize("changes", [{"micro_batch_size": 3}, {"grad_checkpointing": True}])
def test_a_run_with_less_memory_learns_the_same(
    configure, fresh_model, tmp_path, changes, monkeypatch
):
    modes = []
    forward = NoTower.forward

    def spy(tower, *args):
        modes.append(tower.text.transformer.grad_checkpointing)
        return forward(tower, *args)

    monkeypatch.setattr(NoTower, "forward", spy)
    plain = train(configure(eps=1e-3), model=fresh_model())
    assert not any(modes)
    other = configure(out_dir=tmp_path / "other", eps=1e-3, **changes)
    frugal = train(other, model=fresh_model())
    assert any(modes) is ("grad_checkpointing" in changes)
    for name, tensor in plain.no_tower.state_dict().items():
        torch.testing.assert_close(
            frugal.no_tower.state_dict()[name], tensor, atol=1e-5, rtol=0, msg=name
        )


def test_a_run_may_go_on_with_less_memory(configure, fresh_model, read_log):
    def interrupt(record):
        if record.step == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(configure(), model=fresh_model(), on_step=interrupt)
    train(configure(micro_batch_size=2, grad_checkpointing=True), model=fresh_model())
    assert [line["step"] for line in read_log()] == list(range(1, 10))


def test_two_ranks_with_unequal_micro_batches_have_the_gradients_of_one_process(tmp_path):
    run_ranks(step_of_ranks.main, tmp_path, num_ranks=2)
    reports = [json.loads(path.read_text()) for path in sorted(tmp_path.glob("rank-*.json"))]
    assert len(reports) == 2
    for report in (step for rank in reports for step in rank):
        assert report["num_ranks"] == 2
        assert report["loss"] < 1e-6
        assert report["gradients"] < 1e-5
