"""Outlines: the golden images of all parts, so small that a frame is screened against every one of them.

A network's shortlist is only as good as the network. At 32 pixels a line's shift and turn are of the size of a pixel,
where one linear step finds them (see `screening`), and the parts whose golden image could then be the frame are found
without any network, in a fraction of a millisecond for a thousand parts.
"""

from collections.abc import Iterable

import numpy as np

from partsight.runtime.alignment import LEVELS_PX, level_size, pyramid
from partsight.runtime.array_file import decode_array, encode_array
from partsight.runtime.errors import PackageError
from partsight.runtime.images import Pixels
from partsight.runtime.screening import inner, span
from partsight.runtime.selection import best_first
from partsight.runtime.session import FloatArray

OUTLINE_FILE = "outlines.npy"
"""Its name in a package: (classes, height, width) float16."""

MOST_PARTS = 10_000
"""Packages of more parts have none: the whole catalogue would take longer to screen than the network does."""

_CALLERS_OWN = 2**18  # multiplications of a product that OpenBLAS computes in the thread that asks for it


def outline_of(image_bgr: Pixels) -> np.ndarray:
    """Return the (height, width) float16 outline of a golden image as frames are compared with it."""
    return pyramid(image_bgr)[0].astype(np.float16)


class Outlines:
    """The outlines of all classes. Immutable."""

    def __init__(self, outlines: np.ndarray) -> None:
        """Take (classes, height, width) float16."""
        self.values = outlines
        self._rows: FloatArray = inner(outlines).astype(np.float32)
        self._squares = np.einsum("np,np->n", self._rows, self._rows)

    @classmethod
    def of(cls, images: Iterable[Pixels]) -> "Outlines":
        """Make those of golden images, each as frames are compared with it."""
        return cls(np.stack([outline_of(image) for image in images]))

    @classmethod
    def from_bytes(cls, data: bytes, classes: int, size_hw: tuple[int, int], source: str) -> "Outlines":
        """Read a package's file.

        Args:
            data: its bytes.
            classes: how many there must be.
            size_hw: height and width of the golden images that frames are compared with.
            source: where the bytes came from, for messages.

        Raises:
            PackageError: it is not such a file.
        """
        width, height = level_size(size_hw, LEVELS_PX[0])
        values = decode_array(data, np.dtype("<f2"), (classes, height, width), source)
        if not np.isfinite(values).all():
            raise PackageError(f"{source}: holds what is no number; export the package again")
        return cls(values)

    def to_bytes(self) -> bytes:
        """Return the package's file."""
        return encode_array(self.values.astype("<f2"))

    def best_first(self, level: FloatArray, count: int) -> list[int]:
        """Return the classes whose golden images leave least of a frame unexplained, best first.

        Args:
            level: the frame's coarsest level, (height, width) float32.
            count: how many.
        """
        explained = _product(self._rows, span(level))
        gained: FloatArray = np.einsum("nk,nk->n", explained, explained) - self._squares
        found: list[int] = best_first(gained, count).tolist()
        return found


def _product(rows: FloatArray, basis: FloatArray) -> FloatArray:
    """Return rows @ basis, computed in this thread alone.

    OpenBLAS shares a large product among threads, which then spin for longer than it took, on cores that the network
    and the other frames need: with it, two threads compared no more frames than one. So it is given blocks of rows.
    """
    product = np.empty((len(rows), basis.shape[1]), np.float32)
    count = max(1, _CALLERS_OWN // basis.size)
    for start in range(0, len(rows), count):
        np.matmul(rows[start : start + count], basis, out=product[start : start + count])
    return product
