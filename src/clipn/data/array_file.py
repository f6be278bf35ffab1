"""A .npy file that is written part by part."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from clipn.files import write_aside


@contextmanager
def write_array(
    path: Path, *, shape: tuple[int, ...], dtype: np.dtype
) -> Iterator[Callable[[np.ndarray], None]]:
    """Write an array whole or not at all, holding one part of it in memory at a time.

    Written as a file and not through a memory map, because a full disk is an error of the one and
    kills the process with the other.

    Args:
        path: The file to make or replace.
        shape: Of the whole array.
        dtype: Of the whole array.

    Yields:
        A function that appends rows; their inner axes may be shorter, the rest is zero.

    Raises:
        OSError: If it cannot be written.
    """
    num_written = 0
    with write_aside(path) as aside, aside.open("wb") as file:

        def append(part: np.ndarray) -> None:
            nonlocal num_written
            rows = np.zeros((len(part), *shape[1:]), dtype=dtype)
            rows[(slice(None), *(slice(size) for size in part.shape[1:]))] = part
            file.write(rows.data)
            num_written += len(part)

        header = {"descr": npy.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        npy.write_array_header_1_0(file, header)
        yield append
        assert num_written == shape[0]
