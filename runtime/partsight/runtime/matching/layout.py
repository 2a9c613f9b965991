"""The layout of references: at which points of a golden image frames are compared with it, by its size alone."""

import functools
from dataclasses import dataclass

import numpy as np

from partsight.runtime.core import FloatArray

_BORDER_SHARE = 1 / 32  # of the longest side: what a shifted frame does not show
_JUDGED_STEP_PX = 1.5  # both pictures are smoothed by 1.3 px, so that closer points show nothing new
_FINE_STEP_PX = 4
_MIDDLE_STEP_PX = 2  # of the middle level
_SPOT_SHARE = 1 / 21  # of the longest side: about a pin of a long header


@dataclass(frozen=True)
class Grid:
    """Points in rows and columns.

    Attributes:
        size_hw: height and width of the level in pixels.
        rows, columns: where they lie, in pixels.
    """

    size_hw: tuple[int, int]
    rows: FloatArray
    columns: FloatArray

    @classmethod
    def inner(cls, size_hw: tuple[int, int], step: float) -> "Grid":
        """Return points that are `step` pixels apart and no nearer to the border than a shifted frame shows."""
        return cls._from_border(size_hw, step, max(1, round(max(size_hw) * _BORDER_SHARE)))

    @classmethod
    def whole(cls, size_hw: tuple[int, int], step: float) -> "Grid":
        """Return points that are `step` pixels apart, up to the border."""
        return cls._from_border(size_hw, step, 0)

    @classmethod
    def _from_border(cls, size_hw: tuple[int, int], step: float, border: int) -> "Grid":
        first = border + (step - 1) / 2
        rows, columns = (np.arange(first, size - border - 0.5, step, dtype=np.float32) for size in size_hw)
        return cls(size_hw, rows, columns)

    @property
    def shape(self) -> tuple[int, int]:
        """How many rows and columns."""
        return len(self.rows), len(self.columns)

    @functools.cached_property
    def down_px(self) -> FloatArray:
        """(rows,) from the centre, in pixels."""
        return (self.rows - (self.size_hw[0] - 1) / 2).astype(np.float32)

    @functools.cached_property
    def right_px(self) -> FloatArray:
        """(columns,) from the centre, in pixels."""
        return (self.columns - (self.size_hw[1] - 1) / 2).astype(np.float32)

    @property
    def down(self) -> FloatArray:
        """(rows,) from the centre, in shares of the longest side."""
        return self.down_px / np.float32(max(self.size_hw))

    @property
    def right(self) -> FloatArray:
        """(columns,) from the centre, in shares of the longest side."""
        return self.right_px / np.float32(max(self.size_hw))


@dataclass(frozen=True)
class Layout:
    """The points of references of one size.

    Attributes:
        middle: of the middle level, on which candidates are aligned.
        fine: of the full size, on which finalists are aligned.
        judged: of the full size, at which finalists are compared.
        spot: side of the windows that are judged, in blocks of 2 × 2 points.
    """

    middle: Grid
    fine: Grid
    judged: Grid
    spot: int

    @staticmethod
    @functools.lru_cache(8)
    def of(size_hw: tuple[int, int]) -> "Layout":
        """Return the layout of references of a size, each side a multiple of 6."""
        return Layout(
            Grid.inner((size_hw[0] // 3, size_hw[1] // 3), _MIDDLE_STEP_PX),
            Grid.whole(size_hw, _FINE_STEP_PX),
            Grid.inner(size_hw, _JUDGED_STEP_PX),
            max(1, round(max(size_hw) * _SPOT_SHARE / _JUDGED_STEP_PX / 2)),
        )
