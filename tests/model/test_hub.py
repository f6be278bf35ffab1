"""Models on the hub: the real client, against a server that speaks the hub's API."""

import json
from collections.abc import Callable
from dataclasses import dataclass

import huggingface_hub
import open_clip
import pytest
import torch
from hub_server import Hub, Repository
from safetensors.torch import save

from clipn.errors import ModelError
from clipn.model import CLIPN, load_model
from clipn.model.fetching import HubAddress
from clipn.model.folder import CARD, CONFIG, WEIGHTS

# The client's own HTTP upload, which it keeps for hubs without Xet.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

NAME = "owner/name"
TERMS = {"license": "cc-by-nc-4.0", "data_terms": "Drawn squares, which belong to nobody."}


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A result as a card takes it."""

    suite: str
    score: str
    model_fingerprint: str
    averages: dict[str, dict[str, float]]
    package_version: str = "0.1.0"
    date: str = "2026-01-02T03:04:05+00:00"
    convention: str = "ID is the positive class"


def files_of(hub: Hub, revision: str = "main") -> dict[str, bytes]:
    repository = hub.repositories[NAME]
    commit = repository.find(revision)
    assert commit is not None
    return repository.commits[commit]


def test_what_is_published_is_what_is_loaded(hub: Hub, learnable_model: CLIPN):
    address = learnable_model.push_to_hub(NAME, **TERMS)
    assert set(files_of(hub)) == {CONFIG, WEIGHTS, CARD}
    assert address == f"hf-hub:{NAME}@{hub.repositories[NAME].names['main']}"
    model = load_model(address)
    assert model.fingerprint() == learnable_model.fingerprint()
    assert model.variant == "learnable"
    assert model.reference == address


def test_a_commit_or_a_tag_loads_the_same_weights_for_ever(hub: Hub, learnable_model: CLIPN):
    first = learnable_model.push_to_hub(NAME, **TERMS)
    repository = hub.repositories[NAME]
    repository.names["v1"] = repository.names["main"]
    before = learnable_model.fingerprint()
    with torch.no_grad():
        learnable_model.no_tower.prompts.add_(1)
    learnable_model.push_to_hub(NAME, **TERMS)
    assert load_model(first).fingerprint() == before
    assert load_model(f"hf-hub:{NAME}@v1").fingerprint() == before
    assert load_model(f"hf-hub:{NAME}").fingerprint() == learnable_model.fingerprint() != before


def test_a_branch_of_ones_own_gets_the_commit(hub: Hub, plain_model: CLIPN):
    plain_model.push_to_hub(NAME, **TERMS, private=True, branch="trial")
    assert set(hub.repositories[NAME].names) == {"trial"}
    assert hub.repositories[NAME].is_private
    assert load_model(f"hf-hub:{NAME}@trial").fingerprint() == plain_model.fingerprint()


def test_the_card_holds_terms_checksum_and_figures(hub: Hub, learnable_model: CLIPN):
    results = [
        Measured(
            suite=suite,
            score=score,
            model_fingerprint=learnable_model.fingerprint(),
            averages={"all": {"auroc": auroc, "fpr95": 0.25}},
        )
        for suite, score, auroc in (("a", "atd", 0.875), ("a", "ctw", 0.5), ("b", "atd", 0.75))
    ]
    learnable_model.push_to_hub(NAME, **TERMS, results=results)
    card = huggingface_hub.ModelCard(files_of(hub)[CARD].decode())
    assert card.data.license == "cc-by-nc-4.0"
    assert card.data.library_name == "clipn"
    assert [one.metric_value for one in card.data.eval_results] == [
        0.875,
        0.25,
        0.5,
        0.25,
        0.75,
        0.25,
    ]
    assert TERMS["data_terms"] in card.text
    assert json.loads(files_of(hub)[CONFIG])["weights_sha256"] in card.text
    assert "| score | a | b |" in card.text
    assert "| atd | 87.50 / 25.00 | 75.00 / 25.00 |\n| ctw | 50.00 / 25.00 | - |" in card.text
    assert f'load_model("hf-hub:{NAME}")' in card.text


def test_results_of_another_model_are_refused(learnable_model: CLIPN):
    other = Measured(suite="a", score="atd", model_fingerprint="0" * 16, averages={})
    with pytest.raises(ValueError, match="The result of atd on a is of another model"):
        learnable_model.push_to_hub(NAME, **TERMS, results=[other])


@pytest.mark.parametrize("name", ["name", "a/b/c", "owner/", "owner/name@v1"])
def test_a_repository_is_an_owner_and_a_name(name: str, plain_model: CLIPN):
    with pytest.raises(ValueError, match=r"is no address on the hub|names a revision"):
        plain_model.push_to_hub(name, **TERMS)


def test_terms_must_be_stated(plain_model: CLIPN):
    with pytest.raises(ValueError, match="license is empty"):
        plain_model.push_to_hub(NAME, license=" ", data_terms="none")


def test_weights_that_are_not_those_of_the_configuration_are_refused(
    hub: Hub, learnable_model: CLIPN
):
    learnable_model.push_to_hub(NAME, **TERMS)
    hub.repositories[NAME].commit({WEIGHTS: files_of(hub)[WEIGHTS][:-1] + b"?"})
    with pytest.raises(
        ModelError, match=r"is not the file that config.json speaks of: its SHA-256"
    ):
        load_model(f"hf-hub:{NAME}")


def test_offline_what_was_fetched_before_is_there(
    hub: Hub, go_offline: Callable[[], None], learnable_model: CLIPN
):
    address = learnable_model.push_to_hub(NAME, **TERMS)
    load_model(f"hf-hub:{NAME}")
    go_offline()
    num_requests = len(hub.requests)
    for name in (f"hf-hub:{NAME}", address):
        assert load_model(name).fingerprint() == learnable_model.fingerprint()
    assert len(hub.requests) == num_requests


def test_offline_what_was_not_fetched_says_so_in_one_line(
    hub: Hub, go_offline: Callable[[], None], plain_model: CLIPN
):
    go_offline()
    for attempt in (
        lambda: load_model(f"hf-hub:{NAME}"),
        lambda: load_model(f"hf-hub:{NAME}@{'0' * 40}"),
        lambda: plain_model.push_to_hub(NAME, **TERMS),
    ):
        with pytest.raises(
            ModelError, match="HF_HUB_OFFLINE is set, so nothing is fetched"
        ) as told:
            attempt()
        assert "\n" not in str(told.value)
    assert hub.requests == []


def test_a_hub_that_does_not_answer_is_named(hub: Hub, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # between tries
    with pytest.raises(ModelError, match=r"http://127.0.0.1:9 does not answer; it is not in the"):
        load_model(f"hf-hub:{NAME}")


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("hf-hub:owner/none", "there is no such repository, or it is private"),
        (f"hf-hub:{NAME}@v9", "it has no revision 'v9'"),
        ("hf-hub:a/b/c", "'hf-hub:a/b/c' is no address on the hub: write hf-hub:owner/name"),
        ("hf-hub:owner/name@", "is no address on the hub"),
    ],
)
def test_what_is_not_on_the_hub_is_said_in_one_line(
    address: str, message: str, hub: Hub, plain_model: CLIPN
):
    plain_model.push_to_hub(NAME, **TERMS)
    with pytest.raises(ModelError, match=message) as told:
        load_model(address)
    assert "\n" not in str(told.value)


def test_a_repository_without_a_model_is_no_model_folder(hub: Hub):
    hub.repositories[NAME] = Repository()
    hub.repositories[NAME].commit({CARD: b"nothing"})
    with pytest.raises(ModelError, match="is no model folder"):
        load_model(f"hf-hub:{NAME}")


def test_an_open_clip_model_on_the_hub_is_loaded_at_its_revision(hub: Hub, plain_model: CLIPN):
    architecture = plain_model.source.architecture
    clip = open_clip.model.CLIP(**architecture)
    config = {"model_cfg": architecture, "preprocess_cfg": {"std": [0.25] * 3}}
    repository = hub.repositories[NAME] = Repository()
    commit = repository.commit(
        {
            "open_clip_config.json": json.dumps(config).encode(),
            "open_clip_model.safetensors": save(clip.state_dict()),
            "huge.bin": b"nobody needs this",
        }
    )
    model = load_model(f"hf-hub:{NAME}@{commit}")
    assert model.variant is None
    assert model.source.name == f"hf-hub:{NAME}@{commit}"
    assert model.source.preprocess["std"] == [0.25] * 3
    torch.testing.assert_close(model.visual.conv1.weight, clip.visual.conv1.weight)
    assert not any("huge.bin" in request for request in hub.requests)


def test_addresses_are_written_as_they_are_read():
    for text in ("hf-hub:owner/name", "hf-hub:owner/name@0123abc"):
        assert str(HubAddress.parse(text)) == text
