"""Teaching runs: what is learned, what stays frozen, what is logged, and every kind of source."""

import csv
import json
import tarfile

import numpy as np
import pandas as pd
import pytest
import torch

from clipn.data.images import read_image
from clipn.errors import DataError, TrainingError
from clipn.model import load_model
from clipn.templates import NEGATED_CAPTION_TEMPLATES, NEGATED_TEMPLATES
from clipn.training import loop, train


def steps_of(log):
    return [line for line in log if "loss" in line]


def test_the_loss_falls(configure, fresh_model, read_log):
    train(configure(epochs=15), model=fresh_model())
    losses = [line["loss"] for line in steps_of(read_log())]
    assert len(losses) == 45
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:3])


def test_the_loss_is_half_the_sum_of_its_terms(configure, fresh_model, read_log):
    train(configure(), model=fresh_model())
    for line in steps_of(read_log()):
        terms = line["itbo_diagonal"] + line["itbo_off_diagonal"] + line["tso"]
        assert line["loss"] == pytest.approx(0.5 * terms)


def by_hand(model, tower, rows, *, tau):
    """The loss of all pairs, written from the paper's formulas with probabilities."""
    image = model.encode_image([read_image(row["image"]["bytes"]) for row in rows]).detach()
    captions = [row["caption"] for row in rows]
    tokens = model.tokenize(captions)
    yes = model.encode_text(captions).detach()
    # One prompt only: whichever is drawn, it or the mean of all, it is this one.
    words = tower.text.token_embedding(tokens) + tower.text.positional_embedding[: tokens.shape[1]]
    x = words + tower.prompts[0, : tokens.shape[1]]
    mask = tower.text.attn_mask[: tokens.shape[1], : tokens.shape[1]]
    x = tower.text.ln_final(tower.text.transformer(x, attn_mask=mask))
    no = x[torch.arange(len(x)), tokens.argmax(dim=1)] @ tower.text.text_projection
    image, yes, no = (t.double() / t.double().norm(dim=1, keepdim=True) for t in (image, yes, no))
    both = torch.stack([tau * image @ yes.T, tau * image @ no.T])
    p_yes, p_no = both.softmax(dim=0)
    is_opposite = torch.tensor([[one != other for other in captions] for one in captions])
    diagonal = -p_yes.diagonal().log().mean()
    off_diagonal = -p_no[is_opposite].log().mean()
    distance = (2 - 2 * (yes * no).sum(dim=1) + 1e-4).sqrt()
    return 0.5 * (diagonal + off_diagonal + (2 - distance).mean())


def test_a_step_is_the_step_of_the_paper_done_by_hand(configure, fresh_model, pair_rows, read_log):
    expected, model = fresh_model(), fresh_model()
    expected.add_no_tower(num_prompts=1)
    tower = expected.no_tower
    matrices = [parameter for parameter in tower.parameters() if parameter.ndim >= 2]
    vectors = [parameter for parameter in tower.parameters() if parameter.ndim < 2]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.2}, {"params": vectors, "weight_decay": 0.0}],
        lr=3e-4,
        betas=(0.9, 0.98),
        eps=1e-4,  # a smaller one magnifies the rounding of gradients that are nearly zero
    )
    start = [parameter.detach().clone() for parameter in tower.parameters()]
    loss = by_hand(expected, tower, pair_rows, tau=expected.tau)
    loss.backward()
    optimizer.step()

    train(configure(epochs=1, batch_size=24, num_prompts=1, lr=3e-4, eps=1e-4), model=model)
    (log,) = steps_of(read_log())
    # tau is 100, and the towers do not round alike
    assert log["loss"] == pytest.approx(loss.item(), abs=1e-5)
    assert log["lr"] == 3e-4
    moved = zip(model.no_tower.parameters(), tower.parameters(), start, strict=True)
    for parameter, by_hand_parameter, before in moved:
        torch.testing.assert_close(parameter, by_hand_parameter, atol=1e-5, rtol=0)
        assert (parameter - before).abs().max() > 1e-4


def test_what_is_frozen_stays_bit_for_bit(configure, fresh_model):
    model, before = fresh_model(), fresh_model()
    taught = train(configure(), model=model)
    assert taught is model
    assert taught.fingerprint("frozen") == before.fingerprint("frozen")
    for name, tensor in before.state_dict().items():
        assert torch.equal(taught.state_dict()[name], tensor), name
    frozen = [p for name, p in taught.named_parameters() if not name.startswith("no_tower.")]
    assert not any(parameter.requires_grad or parameter.grad is not None for parameter in frozen)
    untaught = fresh_model()
    untaught.add_no_tower(num_prompts=4)
    for name, parameter in untaught.no_tower.named_parameters():
        assert not torch.equal(parameter, dict(taught.no_tower.named_parameters())[name]), name


def test_the_folder_holds_the_model_that_comes_back(configure, fresh_model, tmp_path):
    config = configure()
    taught = train(config, model=fresh_model())
    loaded = load_model(tmp_path / "run")
    assert loaded.fingerprint() == taught.fingerprint()
    assert (loaded.variant, loaded.no_tower.num_prompts) == ("learnable", 4)
    assert not loaded.training
    training = json.loads((tmp_path / "run" / "config.json").read_text())["training"]
    assert training["num_pairs"] == 24
    assert training["lr"] == 1e-3
    assert training["pairs"]["source"] == config.pairs.source


def test_the_model_is_loaded_by_name_where_none_is_given(
    configure, fresh_model, assert_same_weights, tmp_path
):
    named = train(configure(out_dir=tmp_path / "named"))
    assert_same_weights(named, train(configure(), model=fresh_model()))


def test_the_log_has_a_line_for_every_so_many_steps_and_the_last(configure, fresh_model, read_log):
    records = []
    train(configure(log_every=4), model=fresh_model(), on_step=records.append)
    log = read_log()
    assert [line["step"] for line in log] == [4, 8, 9]
    assert [record.step for record in records] == [4, 8, 9]
    assert [line["loss"] for line in log] == [record.loss for record in records]
    assert {line["num_steps"] for line in log} == {9}
    assert [line["epoch"] for line in log] == pytest.approx([4 / 3, 8 / 3, 3])
    assert all(line["pairs_per_second"] > 0 for line in log)
    assert log[0]["lr"] > log[1]["lr"] > log[2]["lr"] > 0


def test_shards_are_reported_while_the_cache_is_built(configure, fresh_model):
    seen = []
    train(configure(epochs=1), model=fresh_model(), on_shard=lambda *counts: seen.append(counts))
    assert seen == [(1, 1)]


def test_the_evaluation_sees_the_model_at_rest_and_is_logged(configure, fresh_model, read_log):
    modes = []

    def evaluate(model):
        modes.append((model.training, model.no_tower.training))
        return {"auroc": np.float32(0.75), "num_images": 3}

    config = configure(epochs=5, evaluate_every=2, log_every=100)
    model = train(config, model=fresh_model(), evaluate=evaluate)
    assert modes == [(False, False)] * 2
    assert not model.training
    log = [line for line in read_log() if "evaluation" in line]
    assert log == [
        {"step": 6, "evaluation": {"auroc": 0.75, "num_images": 3.0}},
        {"step": 12, "evaluation": {"auroc": 0.75, "num_images": 3.0}},
    ]


def test_an_evaluation_changes_nothing(configure, fresh_model, assert_same_weights, tmp_path):
    def evaluate(model):
        torch.manual_seed(1234)
        return {"cosine": model.encode_text_no(["a dog"])[0, 0].item()}

    evaluated = train(configure(), model=fresh_model(), evaluate=evaluate)
    other = configure(out_dir=tmp_path / "other")
    assert_same_weights(evaluated, train(other, model=fresh_model()))


@pytest.mark.parametrize("change", [{"seed": 1}, {"lr": 2e-3}, {"batch_size": 6}])
def test_other_settings_teach_something_else(configure, fresh_model, tmp_path, change):
    one = train(configure(), model=fresh_model())
    other = train(configure(out_dir=tmp_path / "other", **change), model=fresh_model())
    assert one.fingerprint() != other.fingerprint()


def test_the_number_of_threads_that_read_images_changes_no_bit(
    configure, fresh_model, assert_same_weights, tmp_path
):
    models = [
        train(
            configure(out_dir=tmp_path / name, cache_dir=None, num_workers=num_workers, **views),
            model=fresh_model(),
        )
        for name, num_workers, views in (
            ("1", 1, {}), ("3", 3, {}), ("v1", 1, {"num_views": 2}), ("v3", 3, {"num_views": 2})
        )
    ]  # fmt: skip
    assert_same_weights(models[0], models[1])
    assert_same_weights(models[2], models[3])
    assert models[0].fingerprint() != models[2].fingerprint()


def test_half_precision_learns_nearly_the_same(configure, fresh_model, read_log, tmp_path):
    train(configure(), model=fresh_model())
    half = configure(out_dir=tmp_path / "half", precision="bf16-mixed", cache_dtype="float16",
                     cache_dir=None)  # fmt: skip
    train(half, model=fresh_model())
    losses = [line["loss"] for line in read_log()]
    half_losses = [line["loss"] for line in read_log(tmp_path / "half")]
    assert half_losses[0] == pytest.approx(losses[0], rel=0.01)
    assert np.mean(half_losses) == pytest.approx(np.mean(losses), rel=0.1)
    assert half_losses != losses


def test_the_gradient_of_the_prompts_is_the_same_every_time(learnable_model):
    # Summed up by several threads at once, it would not be.
    torch.set_num_threads(4)
    tower = learnable_model.no_tower
    tokens = learnable_model.tokenize(["a photo of a dog on a sofa beside a cat"] * 256)
    ids, weights = torch.arange(256) % 17, torch.randn(256, 24)
    gradients = []
    for _ in range(8):
        tower.zero_grad()
        (tower(tokens, ids) * weights).sum().backward()
        gradients.append(tower.prompts.grad.clone())
    assert gradients[0].abs().max() > 0
    assert all(torch.equal(gradient, gradients[0]) for gradient in gradients)


# The hand-crafted variant


@pytest.fixture
def seen_batches(monkeypatch):
    """The batches of all steps."""
    seen, take_gradients = [], loop.take_gradients

    def spy(trainee, batch, **options):
        seen.append(batch)
        return take_gradients(trainee, batch, **options)

    monkeypatch.setattr(loop, "take_gradients", spy)
    return seen


def texts_of(tokenizer, tokens):
    return {tokenizer.decode(row.tolist()).split("<end_of_text>")[0] for row in tokens}


@pytest.mark.parametrize("source", ["captions", "names"])
def test_the_hand_crafted_variant_reads_negated_texts(
    configure, fresh_model, seen_batches, tmp_path, read_log, source
):
    pairs = {"name_column": "name", "class_column": "label"} if source == "names" else {}
    config = configure(variant="handcrafted", epochs=20, pairs=pairs)
    taught = train(config, model=fresh_model())
    assert taught.variant == load_model(tmp_path / "run").variant == "handcrafted"
    assert taught.no_tower.prompts is None
    assert taught.negated_templates == NEGATED_TEMPLATES
    losses = [line["loss"] for line in read_log()]
    assert losses[-1] < losses[0]
    tokens = torch.cat([batch.tokens for batch in seen_batches])
    texts = texts_of(taught.tokenizer, tokens)
    assert all(any(word in text for word in (" no ", "not ", "without")) for text in texts)
    num_templates = len(NEGATED_TEMPLATES if source == "names" else NEGATED_CAPTION_TEMPLATES)
    num_texts = 5 if source == "names" else 23
    assert len(texts) == num_texts * num_templates
    assert all(batch.prompt_ids is None for batch in seen_batches)


def test_a_cache_without_no_captions_does_not_serve_the_hand_crafted_variant(
    configure, fresh_model, tmp_path
):
    train(configure(), model=fresh_model())
    with pytest.raises(DataError, match=r"negated_templates \[\] instead of \['not"):
        train(configure(variant="handcrafted", out_dir=tmp_path / "other"), model=fresh_model())


def test_names_and_other_templates_have_no_hand_crafted_no(configure, fresh_model):
    pairs = {"name_column": "name", "templates": ("a {}",)}
    with pytest.raises(ValueError, match="knows a 'no' for the default templates only"):
        train(configure(variant="handcrafted", pairs=pairs), model=fresh_model())


def test_a_model_of_the_other_variant_is_refused(configure, handcrafted_model):
    with pytest.raises(
        ValueError, match="variant is 'learnable'; the model's own is 'handcrafted'"
    ):
        train(configure(), model=handcrafted_model)


def test_pairs_of_one_class_are_never_pushed_apart(configure, fresh_model, read_log, tmp_path):
    train(configure(epochs=1, batch_size=24), model=fresh_model())
    (apart,) = read_log()
    # Captions and prompts are drawn alike; without a column the class is not known.
    pairs = {"class_column": "label"}
    other = configure(
        out_dir=tmp_path / "other", cache_dir=None, epochs=1, batch_size=24, pairs=pairs
    )
    train(other, model=fresh_model())
    (together,) = read_log(tmp_path / "other")
    assert together["itbo_diagonal"] == apart["itbo_diagonal"]
    assert together["itbo_off_diagonal"] != apart["itbo_off_diagonal"]


def test_a_batch_of_one_class_has_no_opposite_pair(configure, fresh_model, read_log, tmp_path):
    table = pd.read_parquet(configure().pairs.source).assign(label=3)
    table.to_parquet(tmp_path / "one-class.parquet")
    pairs = {"source": str(tmp_path / "one-class.parquet"), "class_column": "label"}
    train(configure(pairs=pairs, epochs=1), model=fresh_model())
    assert [line["itbo_off_diagonal"] for line in read_log()] == [0.0] * 3


# Sources


@pytest.fixture
def write_source(tmp_path, pair_rows):
    def write(kind):
        folder = tmp_path / kind
        folder.mkdir()
        if kind == "csv":
            with (folder / "pairs.csv").open("w", newline="") as file:
                writer = csv.writer(file)
                writer.writerow(["image", "caption"])
                for number, row in enumerate(pair_rows):
                    (folder / f"{number}.jpg").write_bytes(row["image"]["bytes"])
                    writer.writerow([f"{number}.jpg", row["caption"]])
            return folder / "pairs.csv"
        for number, row in enumerate(pair_rows):
            (folder / f"{number:04d}.jpg").write_bytes(row["image"]["bytes"])
            (folder / f"{number:04d}.txt").write_text(row["caption"])
        with tarfile.open(folder / "pairs.tar", "w") as archive:
            for file in sorted(folder.glob("0*")):
                archive.add(file, arcname=file.name)
        return folder / "pairs.tar"

    return write


@pytest.mark.parametrize("kind", ["csv", "webdataset"])
def test_the_same_pairs_from_another_source_teach_the_same(
    kind, configure, fresh_model, write_source, assert_same_weights, tmp_path
):
    pairs = {"source": str(write_source(kind)), "format": kind}
    other = configure(out_dir=tmp_path / "other", cache_dir=None, pairs=pairs)
    expected = train(configure(), model=fresh_model())
    assert_same_weights(train(other, model=fresh_model()), expected)


def test_a_source_that_is_not_there_ends_the_run_before_it_begins(configure, fresh_model, tmp_path):
    with pytest.raises(DataError, match=r"nowhere\.csv' does not exist"):
        train(configure(pairs={"source": "nowhere.csv"}), model=fresh_model())
    assert not (tmp_path / "run").exists()


def test_a_loss_that_is_no_number_ends_the_run_and_spares_the_checkpoint(
    configure, fresh_model, assert_same_weights, monkeypatch, tmp_path, read_log
):
    take_gradients, num_calls = loop.take_gradients, 0

    def break_at_the_sixth(*args, **options):
        nonlocal num_calls
        num_calls += 1
        found = take_gradients(*args, **options)
        return found._replace(total=found.total * float("nan")) if num_calls == 6 else found

    with monkeypatch.context() as patch:
        patch.setattr(loop, "take_gradients", break_at_the_sixth)
        with pytest.raises(TrainingError, match=r"loss of step 6 .* number \(total nan, itbo_diag"):
            train(configure(), model=fresh_model())
    folders = sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir())
    assert folders == ["step-00000002", "step-00000004"]
    resumed = train(configure(), model=fresh_model())
    other = configure(out_dir=tmp_path / "other")
    assert_same_weights(resumed, train(other, model=fresh_model()))
    assert [line["step"] for line in read_log()] == list(range(1, 10))
