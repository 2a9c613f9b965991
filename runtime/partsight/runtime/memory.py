"""Memory that the operating system gets back."""

import contextlib
import ctypes
import mmap
import sys
from collections.abc import Sequence

import numpy as np

_LINE = 64  # bytes that a processor loads at once


def give_back_freed() -> None:
    """Return what was freed and is still held: after a model is loaded, about as much as the model.

    On Linux glibc keeps it for later, which never comes on a line; elsewhere this does nothing.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):  # another C library
            ctypes.CDLL(None).malloc_trim(0)


def settle(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Copy arrays that stay for long into pages of their own, which go back as soon as the last array does.

    On the heap, between what each frame takes and frees, they would leave holes: with two threads, twice their size.

    Returns:
        Copies, of the same types and shapes, that cannot be written to.
    """
    sizes = [-(-array.nbytes // _LINE) * _LINE for array in arrays]
    options = {} if sys.platform == "win32" else {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS}
    pages = mmap.mmap(-1, max(1, sum(sizes)), **options)
    copies, start = [], 0
    for array, size in zip(arrays, sizes, strict=True):
        copy = np.frombuffer(pages, array.dtype, array.size, start).reshape(array.shape)
        np.copyto(copy, array)
        copy.flags.writeable = False
        copies.append(copy)
        start += size
    return copies
