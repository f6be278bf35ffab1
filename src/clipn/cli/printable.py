"""Names of files and classes as they may be shown on a terminal."""

import logging
import sys
import unicodedata

__all__ = ["OneLineFormatter", "StderrHandler", "printable"]

# Control characters, halves of pairs, and what ends a line.
_UNSEEN = {"Cc", "Cs", "Zl", "Zp"}
# What turns the direction of writing, so that "gpj.exe" reads as "exe.jpg".
_TURNING = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def printable(text: str) -> str:
    r"""A text in one line that moves no cursor and turns no direction: the rest is escaped.

    Example:
        >>> printable("cat\n\x1b[31m.jpg")
        'cat\\n\\x1b[31m.jpg'
    """
    return "".join(
        character.encode("unicode_escape").decode()
        if unicodedata.category(character) in _UNSEEN or character in _TURNING
        else character
        for character in text
    )


class OneLineFormatter(logging.Formatter):
    """Formats a record of the log as one line."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        return printable(super().format(record))


class StderrHandler(logging.StreamHandler):
    """Writes to what is standard error at the moment, which notebooks and tests exchange."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record."""
        self.stream = sys.stderr
        super().emit(record)
