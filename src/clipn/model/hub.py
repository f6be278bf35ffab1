"""Model folders on the Hugging Face hub: fetched, checked, published.

Addresses look like "hf-hub:owner/name", or "hf-hub:owner/name@revision" where the revision is a
commit, a tag or a branch. A commit never changes, so it is what a result should name. Downloads are
huggingface_hub's, with its cache, its token (HF_TOKEN) and its offline mode (HF_HUB_OFFLINE=1).
"""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from clipn.errors import ModelError
from clipn.files import write_text
from clipn.model.base import load_open_clip_folder
from clipn.model.card import MeasuredResult, write_card
from clipn.model.clipn import CLIPN
from clipn.model.folder import (
    CARD,
    CONFIG,
    WEIGHTS,
    load_model_folder,
    read_model_config,
    save_model,
)

HUB_PREFIX = "hf-hub:"
OPEN_CLIP_CONFIG = "open_clip_config.json"
OPEN_CLIP_FILES = ("open_clip_model.safetensors", "*.json", "*.txt", "*.model")
OPEN_CLIP_PICKLE = "open_clip_pytorch_model.bin"


@dataclass(frozen=True, kw_only=True)
class HubAddress:
    """A repository on the hub, at a revision.

    Attributes:
        repository: "owner/name".
        revision: A commit, a tag or a branch; None for the main branch as it is.
    """

    repository: str
    revision: str | None = None

    @classmethod
    def parse(cls, text: str) -> "HubAddress":
        """Read "hf-hub:owner/name@revision"; the prefix and the revision may be missing.

        Raises:
            ValueError: If it is not such an address.

        Example:
            >>> HubAddress.parse("hf-hub:owner/name@v1")
            HubAddress(repository='owner/name', revision='v1')
        """
        repository, at, revision = text.removeprefix(HUB_PREFIX).partition("@")
        if repository.count("/") != 1 or not all(repository.split("/")) or (at and not revision):
            raise ValueError(
                f"{text!r} is no address on the hub: write {HUB_PREFIX}owner/name, or "
                f"{HUB_PREFIX}owner/name@revision with a commit, a tag or a branch."
            )
        return cls(repository=repository, revision=revision or None)

    def __str__(self) -> str:
        return f"{HUB_PREFIX}{self.repository}" + (f"@{self.revision}" if self.revision else "")


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


def fetch(address: HubAddress, patterns: Sequence[str]) -> Path:
    """Download the files of a repository that are not in the cache.

    Args:
        address: The repository.
        patterns: Names of files, or patterns of them.

    Returns:
        The folder that holds them. Without a network it is what was downloaded before.

    Raises:
        ModelError: If they cannot be had.
    """
    # Imported here because it takes a quarter of a second that no other model needs.
    from huggingface_hub import snapshot_download

    with _explain(address):
        return Path(
            snapshot_download(
                address.repository, revision=address.revision, allow_patterns=list(patterns)
            )
        )


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
        with _explain(address):
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


@contextmanager
def _explain(address: HubAddress) -> Iterator[None]:
    """Turn what the hub's client raises into a ModelError of one line."""
    from huggingface_hub import constants, errors

    try:
        yield
    except errors.GatedRepoError as error:
        why = "it is gated: ask for access on its page, and set HF_TOKEN"
        raise ModelError(f"{address} could not be had from the hub: {why}.") from error
    except errors.RepositoryNotFoundError as error:
        why = "there is no such repository, or it is private and HF_TOKEN does not open it"
        raise ModelError(f"{address} could not be had from the hub: {why}.") from error
    except errors.RevisionNotFoundError as error:
        why = f"it has no revision {address.revision!r}"
        raise ModelError(f"{address} could not be had from the hub: {why}.") from error
    except (errors.OfflineModeIsEnabled, errors.LocalEntryNotFoundError) as error:
        why = f"{constants.ENDPOINT} does not answer"
        if constants.HF_HUB_OFFLINE:
            why = "HF_HUB_OFFLINE is set, so nothing is fetched"
        where = f"it is not in the cache, {constants.HF_HUB_CACHE}"
        raise ModelError(f"{address} could not be had from the hub: {why}; {where}.") from error
    # RuntimeError is how the client speaks of an upload that broke off.
    except (OSError, RuntimeError, errors.HTTPError) as error:  # pyright: ignore[reportPrivateImportUsage]
        why = str(error.__cause__ or error).strip().partition("\n")[0] or type(error).__name__
        raise ModelError(f"{address} could not be had from the hub: {why}") from error
