"""Damage to bytes, drawn from a generator: the same seed damages in the same way everywhere."""

import random
from collections.abc import Callable

INTERESTING = (b"\x00", b"\xff", b"\x7f", b"\x80", b"-", b'"', b"[", b"{", b"\n", b"9999999999")
"""Ends of number ranges, and what ends or opens something in text formats."""


def _flip_bits(data: bytearray, draw: random.Random) -> None:
    for _ in range(draw.choice((1, 1, 2, 8))):
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)


def _overwrite(data: bytearray, draw: random.Random) -> None:
    for _ in range(draw.choice((1, 2, 4, 16))):
        data[draw.randrange(len(data))] = draw.randrange(256)


def _overwrite_header(data: bytearray, draw: random.Random) -> None:
    for _ in range(draw.choice((1, 2, 4))):
        data[draw.randrange(min(len(data), 128))] = draw.choice((0, 1, 127, 128, 255))


def _cut(data: bytearray, draw: random.Random) -> None:
    del data[draw.randrange(len(data)) :]


def _insert(data: bytearray, draw: random.Random) -> None:
    piece = draw.choice((*INTERESTING, draw.randbytes(draw.choice((1, 4, 64, 600)))))
    place = draw.randrange(len(data))
    data[place:place] = piece


def _delete(data: bytearray, draw: random.Random) -> None:
    place = draw.randrange(len(data))
    del data[place : place + draw.choice((1, 2, 16, 512))]


def _repeat(data: bytearray, draw: random.Random) -> None:
    first, second = sorted((draw.randrange(len(data)), draw.randrange(len(data))))
    data[second:second] = data[first : min(second, first + 4096)]


def _blank(data: bytearray, draw: random.Random) -> None:
    place = draw.randrange(len(data))
    stop = min(len(data), place + draw.choice((4, 64, 4096)))
    data[place:stop] = bytes(stop - place)


def _swap(data: bytearray, draw: random.Random) -> None:
    size = min(draw.choice((1, 16, 512)), len(data) // 2)
    first, second = draw.randrange(len(data)), draw.randrange(len(data))
    one, other = data[first : first + size], data[second : second + size]
    data[first : first + size], data[second : second + size] = other, one


DAMAGES: tuple[Callable[[bytearray, random.Random], None], ...] = (
    _flip_bits, _overwrite, _overwrite_header, _cut, _insert, _delete, _repeat, _blank, _swap,
)  # fmt: skip


def damage(content: bytes, draw: random.Random) -> bytes:
    """Damage bytes in one to three ways.

    Args:
        content: What is damaged; it stays as it is.
        draw: Decides how.

    Returns:
        Other bytes, which by chance may be the same.
    """
    data = bytearray(content)
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        if not data:
            break
        draw.choice(DAMAGES)(data, draw)
    return bytes(data)
