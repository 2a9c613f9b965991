"""The layout: the points of a golden image at which frames are compared with it; its size alone decides them."""

import functools
from dataclasses import dataclass

import numpy as np

from partsight.runtime.core import FloatArray

_BORDER_SHARE = 1 / 32  # of the longest side: a shifted frame does not show the border
_JUDGED_STEP_PX = 1.5  # smoothing by 1.3 px leaves nothing new at closer points
_FINE_STEP_PX = 4  # six unknowns need few points
_MIDDLE_STEP_PX = 2  # pixels of the middle level
_SPOT_SHARE = 1 / 21  # of the longest side: about one pin of a long header


@dataclass(frozen=True, eq=False)  # a key by identity: its arrays have no hash
class Grid:
    """Points in rows and columns of one level.

    Attributes:
        size_hw: Height and width of the level, in pixels.
        rows, columns: Position of each row and column, in pixels; pixel centres are whole numbers.
    """

    size_hw: tuple[int, int]
    rows: FloatArray
    columns: FloatArray

    @classmethod
    def inner(cls, size_hw: tuple[int, int], step: float) -> "Grid":
        """Return points `step` pixels apart, without the border that a shifted frame does not show."""
        return cls._from_border(size_hw, step, max(1, round(max(size_hw) * _BORDER_SHARE)))

    @classmethod
    def whole(cls, size_hw: tuple[int, int], step: float) -> "Grid":
        """Return points `step` pixels apart, up to the border."""
        return cls._from_border(size_hw, step, 0)

    @classmethod
    def _from_border(cls, size_hw: tuple[int, int], step: float, border: int) -> "Grid":
        first = border + (step - 1) / 2
        rows, columns = (np.arange(first, size - border - 0.5, step, dtype=np.float32) for size in size_hw)
        return cls(size_hw, rows, columns)

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and of columns."""
        return len(self.rows), len(self.columns)

    @functools.cached_property
    def down_px(self) -> FloatArray:
        """Distance of each row below the centre, (rows,) in pixels."""
        return (self.rows - (self.size_hw[0] - 1) / 2).astype(np.float32)

    @functools.cached_property
    def right_px(self) -> FloatArray:
        """Distance of each column right of the centre, (columns,) in pixels."""
        return (self.columns - (self.size_hw[1] - 1) / 2).astype(np.float32)

    @property
    def down(self) -> FloatArray:
        """Distance of each row below the centre, (rows,) in shares of the longest side."""
        return self.down_px / np.float32(max(self.size_hw))

    @property
    def right(self) -> FloatArray:
        """Distance of each column right of the centre, (columns,) in shares of the longest side."""
        return self.right_px / np.float32(max(self.size_hw))


@dataclass(frozen=True)
class Layout:
    """The points of references of one size.

    Attributes:
        middle: Points of the middle level, for the alignment of candidates.
        fine: Points of the full size, for the alignment of finalists.
        judged: Points of the full size, for the agreement.
        spot: Side of the windows of the agreement, in blocks of 2 × 2 points.
    """

    middle: Grid
    fine: Grid
    judged: Grid
    spot: int

    @staticmethod
    @functools.lru_cache(8)
    def of(size_hw: tuple[int, int]) -> "Layout":
        """Return the layout for a size of references, each side a multiple of 6."""
        return Layout(
            Grid.inner((size_hw[0] // 3, size_hw[1] // 3), _MIDDLE_STEP_PX),
            Grid.whole(size_hw, _FINE_STEP_PX),
            Grid.inner(size_hw, _JUDGED_STEP_PX),
            max(1, round(max(size_hw) * _SPOT_SHARE / _JUDGED_STEP_PX / 2)),
        )
