"""What the service allows, holds and waits for."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from clipn.errors import DataError

if TYPE_CHECKING:
    from clipn.serving.schemas import Limits

__all__ = ["TOKEN_VARIABLE", "Settings", "read_token"]

TOKEN_VARIABLE = "CLIPN_TOKEN"
MIB = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Limits of a request, sizes of what waits, and the token.

    Raises:
        ValueError: If a number is below 1, or one does not fit another.
    """

    body_bytes: int = 32 * MIB
    """Bytes of the whole body of a request."""

    image_bytes: int = 16 * MIB
    """Bytes of one image file."""

    image_pixels: int = 50_000_000
    """Width times height of one image, checked before it is decoded."""

    images: int = 64
    """Images a request."""

    classes: int = 1000
    """Classes a class set or a request."""

    name_length: int = 200
    """Characters of a class name."""

    class_sets: int = 100
    """Class sets that clients may make."""

    deadline_seconds: float = 30.0
    """A request that is not answered by then is given up (408 or 504)."""

    queue_images: int = 512
    """Images that wait or are worked on, all requests together; more is refused with 503."""

    queue_bytes: int = 256 * MIB
    """Bytes of all bodies that are held at once; more is refused with 503."""

    queue_banks: int = 8
    """New lists of classes that wait to be embedded; more is refused with 503."""

    kept_classes: int = 20_000
    """Embedded classes that are kept for requests which bring their own."""

    batch_size: int = 64
    """Images that the image tower sees at once, whatever requests they come from."""

    readers: int = 2
    """Threads that decode images."""

    token: Annotated[str | None, tyro.conf.Suppress] = field(default=None, repr=False)
    """What clients have to send as "Authorization: Bearer TOKEN"; None: anybody may ask."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if name != "token" and not value >= (1e-3 if name == "deadline_seconds" else 1):
                raise ValueError(f"{name} must be at least 1; got {value}.")
        for small, large in (
            ("images", "queue_images"),
            ("body_bytes", "queue_bytes"),
            ("image_bytes", "body_bytes"),
        ):
            if getattr(self, small) > getattr(self, large):
                raise ValueError(
                    f"{small} must not be above {large}; got {getattr(self, small)} and "
                    f"{getattr(self, large)}."
                )
        if self.token is not None and not (self.token and self.token.isascii()):
            raise ValueError("The token must hold at least one character, and only ASCII.")

    @property
    def limits(self) -> "Limits":
        """What clients are told."""
        # Imported here so that the command line's help does not wait for it.
        from clipn.serving.schemas import Limits

        return Limits(
            body_bytes=self.body_bytes,
            image_bytes=self.image_bytes,
            image_pixels=self.image_pixels,
            images=self.images,
            classes=self.classes,
            name_length=self.name_length,
            deadline_seconds=self.deadline_seconds,
        )


def read_token(file: Path | None = None) -> str | None:
    """Read the token from a file, or else from the environment variable CLIPN_TOKEN.

    Args:
        file: Holds the token and nothing else; space around it is left out.

    Returns:
        None if there is no file and the variable is missing or empty.

    Raises:
        DataError: If the file cannot be read, or is empty.
    """
    if file is None:
        return os.environ.get(TOKEN_VARIABLE, "").strip() or None
    try:
        token = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file} cannot be read as a token: {error}") from error
    if not token:
        raise DataError(f"{file} holds no token.")
    return token
