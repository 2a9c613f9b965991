"""Memory that is given back, and memory that is kept in one place."""

import contextlib
import ctypes
import math
import sys
import threading
import weakref
from collections import deque
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

_LINE = 64  # bytes that a processor loads at once


def give_back_freed() -> None:
    """Return what was freed and is still held: after a model is loaded, about as much as the model.

    On Linux glibc keeps it for later, which never comes on a line; elsewhere this does nothing.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):  # another C library
            ctypes.CDLL(None).malloc_trim(0)


class Pieces:
    """Memory for arrays that stay for long, in pieces of one block that are used again and again. Thread-safe.

    On the heap, between what each frame takes and frees, such arrays leave holes: with two threads they took twice
    their size. Fresh pages for each would be given back whole, but the system takes long to hand out new ones.
    """

    def __init__(self, count: int) -> None:
        """Take how many pieces there are; they take no memory before they are used."""
        self._count = count
        self._piece: type[ctypes.Array[ctypes.c_char]] | None = None
        self._block = np.empty(0, np.uint8)
        self._free = deque(range(count))
        self._lock = threading.Lock()

    def take(self, shapes: Sequence[tuple[int, ...]]) -> list[npt.NDArray[np.float32]]:
        """Return float32 arrays in a free piece, which is free again when the last of them, and view of one, is gone.

        Args:
            shapes: of arrays that together take as much as the first time, or less.

        Returns:
            Arrays that hold anything. On the heap if no piece is free.
        """
        lengths = [math.prod(shape) for shape in shapes]
        starts = np.cumsum([0, *(-(-4 * length // _LINE) * _LINE for length in lengths)]).tolist()
        memory = memoryview(self._piece_of(starts[-1]))
        return [
            np.frombuffer(memory, np.float32, length, start).reshape(shape)
            for shape, length, start in zip(shapes, lengths, starts, strict=False)
        ]

    def _piece_of(self, size: int) -> ctypes.Array[ctypes.c_char]:
        with self._lock:
            if self._piece is None:
                # A class of its own, because arrays of plain ctypes cannot be watched by `weakref`.
                self._piece = type("Piece", (ctypes.c_char * size,), {})
                self._block = np.empty(self._count * size, np.uint8)
        kind = self._piece
        try:
            place = self._free.popleft()
        except IndexError:
            return kind()
        piece = kind.from_buffer(self._block.data, place * size)
        weakref.finalize(piece, self._free.append, place).atexit = False
        return piece
