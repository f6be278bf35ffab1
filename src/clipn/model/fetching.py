"""Files of repositories on the Hugging Face hub, downloaded once.

Addresses look like "hf-hub:owner/name", or "hf-hub:owner/name@revision" where the revision is a
commit, a tag or a branch. A commit never changes, so it is what a result should name. Downloads are
huggingface_hub's, with its cache, its token (HF_TOKEN) and its offline mode (HF_HUB_OFFLINE=1).
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from clipn.errors import ModelError

__all__ = ["HUB_PREFIX", "HubAddress", "check_reachable", "explain_failure", "fetch"]

HUB_PREFIX = "hf-hub:"
SECONDS_BETWEEN_TRIES = (1.0, 2.0)  # while the hub does not answer, and nothing is in the cache
MAX_SECONDS = 5.0  # after which no further try is made


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


def fetch(address: HubAddress, patterns: Sequence[str]) -> Path:
    """Download the files of a repository that are not in the cache.

    Args:
        address: The repository.
        patterns: Names of files, or patterns of them.

    Returns:
        The folder that holds them. Without a network it is what was downloaded before; without
        either, the hub is asked three times in three seconds.

    Raises:
        ModelError: If they cannot be had.
    """
    # Imported here because it takes a quarter of a second that no other model needs.
    from huggingface_hub import snapshot_download

    download = partial(
        snapshot_download,
        address.repository,
        revision=address.revision,
        allow_patterns=list(patterns),
    )
    with explain_failure(address):
        return Path(_try_patiently(download))


def _try_patiently(download: Callable[[], str]) -> str:
    """Download, and try again where the hub does not answer at once."""
    from huggingface_hub import constants, errors

    began = time.monotonic()
    for seconds in SECONDS_BETWEEN_TRIES:
        try:
            return download()
        except errors.LocalEntryNotFoundError:
            # After a while the client itself has tried again, or waited for the network.
            if constants.HF_HUB_OFFLINE or time.monotonic() - began > MAX_SECONDS:
                raise
            time.sleep(seconds)
    return download()


def check_reachable(repository: str) -> None:
    """Make sure that a repository is in the cache, or that the hub answers.

    What is downloaded by others, such as open_clip, would else try for a minute without a network.

    Args:
        repository: "owner/name".

    Raises:
        ModelError: If neither is so.
    """
    fetch(HubAddress(repository=repository), patterns=())


@contextmanager
def explain_failure(address: HubAddress) -> Iterator[None]:
    """Turn what the hub's client raises into a ModelError of one line.

    Raises:
        ModelError: If the block fails for a reason of the hub's, or of the way to it.
    """
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
