"""Class sets that several replicas share: what one of them is told, all of them know."""

import uuid
from dataclasses import dataclass
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from clipn.serving.banks import Banks
from clipn.serving.class_sets import ClassSets, StoredClassSet, check_classes
from clipn.serving.schemas import ClassSetContent
from clipn.serving.settings import Settings

__all__ = ["Change", "ClassSetBoard", "FollowBoard", "SharedClassSets"]


@dataclass(frozen=True, kw_only=True)
class Change:
    """What became of a class set."""

    name: str
    """Of the class set."""

    version: int
    """The version that it has now, or had when it was deleted."""

    content: ClassSetContent | None
    """What it is; None: it was deleted."""


class ClassSetBoard:
    """Keeps what clients have made of class sets; lives once, as an actor beside the replicas.

    A board that is lost starts empty, under another identity.

    Example:
        >>> board = ClassSetBoard()
        >>> content = ClassSetContent(classes=["espresso"])
        >>> board.put("drinks", content, former=None)
        True
        >>> board.put("drinks", content, former=None)
        False
        >>> [change.version for change in board.read(since=0)[2]]
        [1]
    """

    def __init__(self) -> None:
        self._identity, self._revision = uuid.uuid4().hex, 0
        self._changes: dict[str, tuple[int, Change]] = {}

    def put(self, name: str, content: ClassSetContent, *, former: int | None) -> bool:
        """Make or change a class set.

        Args:
            name: Of the class set.
            content: What it is to be.
            former: The version that is to be changed; None: there must be none.

        Returns:
            Whether that was done; not if another replica has changed it meanwhile.
        """
        if self._version(name) != former:
            return False
        self._note(Change(name=name, version=(former or 0) + 1, content=content))
        return True

    def delete(self, name: str, *, former: int) -> None:
        """Delete a class set, if it is still the version that is to be deleted."""
        if self._version(name) == former:
            self._note(Change(name=name, version=former, content=None))

    def read(self, *, since: int) -> tuple[str, int, list[Change]]:
        """What has changed.

        Args:
            since: The revision that the reader knows; 0 for all.

        Returns:
            The board's identity, its revision, and the changes since then in their order.
        """
        newer = sorted(
            (entry for entry in self._changes.values() if entry[0] > since),
            key=lambda entry: entry[0],
        )
        return self._identity, self._revision, [change for _, change in newer]

    def _version(self, name: str) -> int | None:
        _, change = self._changes.get(name, (0, None))
        return None if change is None or change.content is None else change.version

    def _note(self, change: Change) -> None:
        self._revision += 1
        self._changes[change.name] = (self._revision, change)


class SharedClassSets(ClassSets):
    """The class sets of a replica, which follow a board.

    Args:
        board: The handle of a Ray actor of `ClassSetBoard`.
        banks: Embeds class names, on this replica.
        settings: Limits.
    """

    def __init__(self, board: Any, banks: Banks, settings: Settings) -> None:
        super().__init__(
            banks,
            max_sets=settings.class_sets,
            max_classes=settings.classes,
            max_length=settings.name_length,
        )
        self._board = board
        self._board_identity, self._revision = "", 0

    async def refresh(self) -> None:
        """Learn what other replicas were told since the last time.

        Raises:
            ProblemError: If class names cannot be embedded now.
        """
        identity, revision, changes = await self._board.read.remote(since=self._revision)
        if identity != self._board_identity and self._board_identity:
            own = [one.name for one in self if not one.is_read_only]
            for name in own:
                del self._sets[name]
            identity, revision, changes = await self._board.read.remote(since=0)
        for change in changes:
            await self._follow(change)
        # Others may have refreshed while class names were embedded.
        if identity != self._board_identity or revision > self._revision:
            self._board_identity, self._revision = identity, revision

    async def _follow(self, change: Change) -> None:
        known = self._sets.get(change.name)
        if change.content is None:
            if known is not None and known.version <= change.version:
                del self._sets[change.name]
        elif known is None or known.version != change.version or known.content != change.content:
            bank = await self._banks.get(tuple(change.content.classes))
            self._sets[change.name] = StoredClassSet(
                name=change.name,
                version=change.version,
                is_read_only=False,
                content=change.content,
                bank=bank,
            )

    async def put(
        self,
        name: str,
        content: ClassSetContent,
        *,
        if_match: str | None = None,
        if_none_match: str | None = None,
    ) -> tuple[StoredClassSet, bool]:
        """Make or change a class set on all replicas; see `ClassSets.put`."""
        names = check_classes(
            content.classes, max_classes=self._max_classes, max_length=self._max_length
        )
        content = content.model_copy(update={"classes": list(names)})
        self._check_change(name, if_match, if_none_match)
        await self._banks.get(names)
        while True:
            await self.refresh()
            old = self._check_change(name, if_match, if_none_match)
            if old is not None and old.content == content:
                return old, False
            former = None if old is None else old.version
            if await self._board.put.remote(name, content, former=former):
                await self.refresh()
                return self.get(name), old is None

    def delete(self, name: str, *, if_match: str | None = None) -> None:
        """Remove a class set on all replicas; see `ClassSets.delete`."""
        version = self.get(name).version
        super().delete(name, if_match=if_match)
        self._board.delete.remote(name, former=version)


class FollowBoard:
    """Has a replica learn what others were told before it answers a request of the API.

    Args:
        app: The application.
        class_sets: The replica's.
    """

    def __init__(self, app: ASGIApp, class_sets: SharedClassSets) -> None:
        self._app, self._class_sets = app, class_sets

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refresh, then pass the request on."""
        if scope["type"] == "http" and scope["path"].startswith("/v1/"):
            await self._class_sets.refresh()
        await self._app(scope, receive, send)
