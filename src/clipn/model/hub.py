"""Model folders on the Hugging Face hub: loaded, and published with their card."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from clipn.errors import ModelError
from clipn.files import write_text
from clipn.model.base import load_open_clip_folder
from clipn.model.card import MeasuredResult, write_card
from clipn.model.clipn import CLIPN
from clipn.model.fetching import HubAddress, explain_failure, fetch
from clipn.model.folder import (
    CARD,
    CONFIG,
    WEIGHTS,
    load_model_folder,
    read_model_config,
    save_model,
)

OPEN_CLIP_CONFIG = "open_clip_config.json"
OPEN_CLIP_FILES = ("open_clip_model.safetensors", "*.json", "*.txt", "*.model")
OPEN_CLIP_PICKLE = "open_clip_pytorch_model.bin"


def load_from_hub(text: str) -> CLIPN:
    """Load a model folder of ours from the hub, or else an open_clip model.

    Args:
        text: The address.

    Raises:
        ModelError: If there is none, it cannot be had, or its weights are not those that its
            configuration speaks of.
    """
    try:
        address = HubAddress.parse(text)
    except ValueError as error:
        raise ModelError(str(error)) from error
    # In two steps, since a repository of open_clip's may hold gigabytes that nobody needs.
    if not (fetch(address, (CONFIG, OPEN_CLIP_CONFIG)) / OPEN_CLIP_CONFIG).exists():
        return load_model_folder(fetch(address, (CONFIG, WEIGHTS, CARD)))
    folder = fetch(address, OPEN_CLIP_FILES)
    if not (folder / OPEN_CLIP_FILES[0]).exists():
        folder = fetch(address, (*OPEN_CLIP_FILES, OPEN_CLIP_PICKLE))
    return CLIPN(load_open_clip_folder(folder, name=str(address)))


def push_model(
    model: CLIPN,
    repository: str,
    *,
    license: str,
    data_terms: str,
    results: Sequence[MeasuredResult] = (),
    training: dict[str, Any] | None = None,
    dtype: Literal["float32", "float16"] = "float32",
    private: bool = False,
    branch: str | None = None,
    message: str = "A model of clipn",
) -> str:
    """Publish a model on the hub: its folder with a card, as one commit.

    Args:
        model: What to publish.
        repository: "owner/name"; made if missing.
        license: Of the weights, as the hub writes it: "mit", "cc-by-nc-4.0", "other", ...
        data_terms: What the model was taught with and under which terms; a section of the card.
        results: What was measured with it, of `clipn.evaluate`; a table of the card.
        training: What it was taught with, kept in its configuration.
        dtype: Precision of the stored weights.
        private: Whether only its owner may see a repository that is made.
        branch: Gets the commit; the main branch by default.
        message: Of the commit.

    Returns:
        The address of the commit, which loads these very weights for ever.

    Raises:
        ValueError: If an argument is wrong, or results are of another model.
        ModelError: If the hub cannot be reached or refuses.
    """
    address = HubAddress.parse(repository)
    if address.revision is not None:
        raise ValueError(f"{repository!r} names a revision: give a branch apart, if any.")
    for what, text in (("license", license), ("data_terms", data_terms)):
        if not text.strip():
            raise ValueError(f"{what} is empty: say under which terms the weights may be used.")
    _check_results(model, results)
    from huggingface_hub import CommitOperationAdd, HfApi

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_model(model, folder, dtype=dtype, training=training)
        card = write_card(
            read_model_config(folder),
            address=str(address),
            license=license,
            data_terms=data_terms,
            results=results,
        )
        write_text(folder / CARD, card)
        files = [
            CommitOperationAdd(path_in_repo=file, path_or_fileobj=folder / file)
            for file in (CONFIG, WEIGHTS, CARD)
        ]
        with explain_failure(address):
            api = HfApi(library_name="clipn")
            api.create_repo(address.repository, private=private, exist_ok=True)
            commit = api.create_commit(
                address.repository, files, commit_message=message, revision=branch
            )
    return str(HubAddress(repository=address.repository, revision=commit.oid))


def _check_results(model: CLIPN, results: Sequence[MeasuredResult]) -> None:
    """Raise ValueError if a result was measured with other weights."""
    fingerprint = model.fingerprint() if results else ""
    for result in results:
        if result.model_fingerprint != fingerprint:
            raise ValueError(
                f"The result of {result.score} on {result.suite} is of another model "
                f"({result.model_fingerprint}); this one is {fingerprint}. Measure it anew."
            )
