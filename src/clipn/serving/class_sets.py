"""Named class sets: versioned, and changed only by who knows the version that is there."""

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from clipn.class_names import check_class_names
from clipn.serving.banks import Banks
from clipn.serving.problems import ProblemError
from clipn.serving.schemas import ClassSet, ClassSetContent, ClassSetSummary

__all__ = ["ClassSets", "StoredClassSet", "check_classes", "matches"]

_ETAG = re.compile(r'(?:W/)?"[^"]*"|\*')


def check_classes(names: list[str], *, max_classes: int, max_length: int) -> tuple[str, ...]:
    """Class names of a request, within the limits and each once.

    Raises:
        ProblemError: If they are not.
    """
    if len(names) > max_classes:
        raise ProblemError(
            "invalid-request", f"There may be at most {max_classes} classes; got {len(names)}."
        )
    if too_long := [name for name in names if len(name) > max_length]:
        raise ProblemError(
            "invalid-request",
            f"A class name may have at most {max_length} characters; {too_long[0][:40]!r}... has "
            f"{len(too_long[0])}.",
        )
    try:
        return check_class_names(names)
    except ValueError as error:
        raise ProblemError("invalid-request", str(error)) from error


def matches(header: str, etag: str | None) -> bool:
    """Whether an If-Match or If-None-Match header names an ETag; None: there is nothing yet.

    Example:
        >>> matches('"1-ab", "2-cd"', '"2-cd"'), matches("*", None), matches("*", '"1-ab"')
        (True, False, True)
    """
    return etag is not None and any(tag in ("*", etag) for tag in _ETAG.findall(header))


@dataclass(frozen=True, kw_only=True)
class StoredClassSet:
    """A class set with its bank.

    Attributes:
        name: What requests call it.
        version: Counts its changes, from 1.
        is_read_only: Whether clients cannot change it.
        content: As its author wrote it, with checked class names.
        bank: The embedded class names.
    """

    name: str
    version: int
    is_read_only: bool
    content: ClassSetContent
    bank: Any

    @property
    def etag(self) -> str:
        """Identifies version and content."""
        digest = hashlib.sha256(self.content.model_dump_json().encode()).hexdigest()
        return f'"{self.version}-{digest[:8]}"'

    def describe(self) -> ClassSet:
        """All that clients are told."""
        return ClassSet(
            name=self.name,
            version=self.version,
            etag=self.etag,
            is_read_only=self.is_read_only,
            **self.content.model_dump(),
        )

    def summarise(self) -> ClassSetSummary:
        """The same without the class names."""
        return ClassSetSummary(
            name=self.name,
            version=self.version,
            etag=self.etag,
            is_read_only=self.is_read_only,
            num_classes=len(self.content.classes),
        )


class ClassSets:
    """All class sets of a service.

    Args:
        banks: Embeds class names.
        max_sets: How many clients may make.
        max_classes: Classes of one.
        max_length: Characters of a class name.
    """

    def __init__(self, banks: Banks, *, max_sets: int, max_classes: int, max_length: int) -> None:
        self._banks, self._max_sets = banks, max_sets
        self._max_classes, self._max_length = max_classes, max_length
        self._sets: dict[str, StoredClassSet] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._sets

    def __iter__(self) -> Iterator[StoredClassSet]:
        return iter(sorted(self._sets.values(), key=lambda one: one.name))

    def get(self, name: str) -> StoredClassSet:
        """One class set.

        Raises:
            ProblemError: If there is none of that name.
        """
        if name not in self._sets:
            raise ProblemError(
                "not-found", f"There is no class set {name!r}; GET /v1/classes tells all."
            )
        return self._sets[name]

    async def start(self, contents: Mapping[str, ClassSetContent]) -> None:
        """Embed the class sets that come from the command line; clients cannot change them."""
        for name, content in contents.items():
            bank = await self._banks.get(tuple(content.classes))
            self._sets[name] = StoredClassSet(
                name=name, version=1, is_read_only=True, content=content, bank=bank
            )

    async def put(
        self,
        name: str,
        content: ClassSetContent,
        *,
        if_match: str | None = None,
        if_none_match: str | None = None,
    ) -> tuple[StoredClassSet, bool]:
        """Make or change a class set.

        Args:
            name: Of the class set.
            content: What it is to be.
            if_match: Change only a version with one of these ETags.
            if_none_match: "*": only make a new one.

        Returns:
            The class set, and whether it is new. The same content again is no new version.

        Raises:
            ProblemError: If it cannot be changed, is another version, or cannot be embedded.
        """
        names = check_classes(
            content.classes, max_classes=self._max_classes, max_length=self._max_length
        )
        content = content.model_copy(update={"classes": list(names)})
        self._check_change(name, if_match, if_none_match)
        bank = await self._banks.get(names)
        # Others may have changed it meanwhile; from here on nobody else has a turn.
        old = self._check_change(name, if_match, if_none_match)
        if old is not None and old.content == content:
            return old, False
        version = 1 if old is None else old.version + 1
        new = StoredClassSet(
            name=name, version=version, is_read_only=False, content=content, bank=bank
        )
        self._sets[name] = new
        return new, old is None

    def delete(self, name: str, *, if_match: str | None = None) -> None:
        """Remove a class set.

        Raises:
            ProblemError: If there is none, it cannot be changed, or is another version.
        """
        self.get(name)
        self._check_change(name, if_match, None)
        del self._sets[name]

    def _check_change(
        self, name: str, if_match: str | None, if_none_match: str | None
    ) -> StoredClassSet | None:
        """The class set as it is, if it may be changed."""
        old = self._sets.get(name)
        etag = None if old is None else old.etag
        if old is not None and old.is_read_only:
            raise ProblemError("read-only", f"The class set {name!r} comes from the command line.")
        is_changed = if_match is not None and not matches(if_match, etag)
        if is_changed or (if_none_match is not None and matches(if_none_match, etag)):
            raise ProblemError(
                "precondition-failed",
                f"The class set {name!r} has the ETag {etag or 'of nothing: there is none yet'}.",
                headers={} if etag is None else {"ETag": etag},
            )
        num_own = sum(not one.is_read_only for one in self._sets.values())
        if old is None and num_own >= self._max_sets:
            raise ProblemError(
                "too-many-class-sets",
                f"There are {num_own} class sets already; delete one first.",
            )
        return old
