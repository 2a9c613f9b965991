"""Poses: where golden images lie in frames, many at once.

A fixed camera sees a part shifted and turned, never larger or smaller: a part of another size is another part. A camera
that looks down at an angle sees a part that is tilted by a degree stretched along the picture's vertical and sheared
across it by a percent or two, no more.
"""

from dataclasses import dataclass
from typing import Any

from partsight.runtime.matching.layout import Grid
from partsight.runtime.matching.operations import ArrayOperations


@dataclass(frozen=True)
class Poses:
    """Where each candidate's golden image lies in its frame; each (frames, candidates) float32.

    Attributes:
        x, y: shift of its centre to the right and down, in shares of the longest side.
        angle: in radians, clockwise as seen on the picture.
        shear: shift to the right of a point below the centre, in shares of its distance.
        stretch: along the picture's vertical, 0 for none.
    """

    x: Any
    y: Any
    angle: Any
    shear: Any
    stretch: Any

    @property
    def values(self) -> tuple[Any, ...]:
        """The unknowns, in order."""
        return self.x, self.y, self.angle, self.shear, self.stretch

    def pick(self, index: Any, ops: ArrayOperations) -> "Poses":
        """Return the poses of some candidates; index is (frames, fewer)."""
        return Poses(*(ops.pick(values, index) for values in self.values))

    def linear(self, ops: ArrayOperations) -> tuple[Any, Any, Any, Any]:
        """Return the (2, 2) part, row by row: first shear and stretch, then the turn."""
        cosine, sine, height = ops.cos(self.angle), ops.sin(self.angle), self.stretch + 1
        return cosine, cosine * self.shear - sine * height, sine, sine * self.shear + cosine * height

    def after_inverse_of(self, step: "Poses", ops: ArrayOperations) -> "Poses":
        """Return each pose applied after the inverse of a small one; a change of size by their product is dropped."""
        a, b, c, d = self.linear(ops)
        e, f, g, h = step.linear(ops)
        size = e * h - f * g
        a, b, c, d = (a * h - b * g) / size, (b * e - a * f) / size, (c * h - d * g) / size, (d * e - c * f) / size
        angle = ops.atan(c / a)  # no part of a controlled line lies on its side
        cosine, sine = ops.cos(angle), ops.sin(angle)
        return Poses(
            self.x - a * step.x - b * step.y,
            self.y - c * step.x - d * step.y,
            angle,
            cosine * b + sine * d,
            cosine * d - sine * b - 1,
        )

    def places(self, grid: Grid, ops: ArrayOperations) -> "Places":
        """Return where the points of a grid on golden images lie in frames."""
        height, width = grid.size_hw
        longest = float(max(grid.size_hw))
        a, b, c, d = (part[..., None] for part in self.linear(ops))
        x, y = self.x * longest + (width - 1) / 2, self.y * longest + (height - 1) / 2
        return Places(
            a * grid.right_px + x[..., None],
            b * grid.down_px,
            c * grid.right_px + y[..., None],
            d * grid.down_px,
        )


@dataclass(frozen=True)
class Places:
    """Where points in rows and columns lie in frames, in pixels: x and y are sums of a part of each.

    Attributes:
        x_of_column, y_of_column: (frames, candidates, columns) float32.
        x_of_row, y_of_row: (frames, candidates, rows) float32.
    """

    x_of_column: Any
    x_of_row: Any
    y_of_column: Any
    y_of_row: Any
