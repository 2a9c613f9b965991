"""Poses: where golden images lie in frames, many at once.

A fixed camera sees a part shifted and turned, and never larger or smaller: a part of another size is another part. If
the camera looks down at an angle, a tilt of the part by a degree stretches its picture along the vertical and shears it
across by a percent or two, not more. So a pose has five unknowns, and takes the point (r, d), right of and below the
centre of the golden image, to

    x = a r + b d + shift,   [a b]   [cos -sin] [1    shear   ]
    y = c r + d d + shift,   [c d] = [sin  cos] [0  1 + stretch]

Lengths are in shares of the longest side, so one pose serves all levels.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from partsight.runtime.matching.layout import Grid
from partsight.runtime.matching.operations import ArrayOperations


@dataclass(frozen=True)
class PartPose:
    """Where a part lies in a frame, compared with its golden image.

    Attributes:
        shift_x, shift_y: Shift of the centre to the right and down, in shares of the longest side.
        turn_deg: Turn in degrees, clockwise on the picture.
        shear, stretch: Shear and vertical stretch, as shares.
    """

    shift_x: float
    shift_y: float
    turn_deg: float
    shear: float
    stretch: float

    @property
    def distortion(self) -> float:
        """Length of shear and stretch, as a share."""
        return math.hypot(self.shear, self.stretch)


@dataclass(frozen=True)
class Poses:
    """Pose of each candidate's golden image in its frame; each (frames, candidates) float32.

    Attributes:
        x, y: Shift of the centre to the right and down, in shares of the longest side.
        angle: Turn in radians, clockwise on the picture.
        shear: Shift to the right of a point below the centre, in shares of its distance from the centre.
        stretch: Stretch along the picture's vertical, as a share; 0 for none.
    """

    x: Any
    y: Any
    angle: Any
    shear: Any
    stretch: Any

    @property
    def values(self) -> tuple[Any, ...]:
        """The five unknowns, in order."""
        return self.x, self.y, self.angle, self.shear, self.stretch

    def of_part(self, frame: int, candidate: int) -> PartPose:
        """Return the pose of one candidate, from arrays."""
        x, y, angle, shear, stretch = (float(values[frame, candidate]) for values in self.values)
        return PartPose(x, y, float(np.degrees(angle)), shear, stretch)

    def pick(self, index: Any, ops: ArrayOperations) -> "Poses":
        """Return the poses of some candidates; `index` is (frames, fewer)."""
        return Poses(*(ops.pick(values, index) for values in self.values))

    def linear(self, ops: ArrayOperations) -> tuple[Any, Any, Any, Any]:
        """Return the (2, 2) matrix a, b, c, d, row by row: first shear and stretch, then the turn."""
        cosine, sine, height = ops.cos(self.angle), ops.sin(self.angle), self.stretch + 1
        return cosine, cosine * self.shear - sine * height, sine, sine * self.shear + cosine * height

    def after_inverse_of(self, step: "Poses", ops: ArrayOperations) -> "Poses":
        """Return each pose applied after the inverse of a small step, W(x; p) ∘ W(x; s)⁻¹.

        The matrix of the result is M(p) M(s)⁻¹. It has four degrees of freedom and a pose three, so a change of width
        is dropped: the first column gives the angle; the second, turned back by it, gives shear and stretch. The shift
        becomes the pose's shift minus this matrix times the step's shift.
        """
        a, b, c, d = self.linear(ops)
        e, f, g, h = step.linear(ops)
        size = e * h - f * g
        a, b, c, d = (a * h - b * g) / size, (b * e - a * f) / size, (c * h - d * g) / size, (d * e - c * f) / size
        angle = ops.atan(c / a)  # a > 0: no part of a controlled line lies on its side
        cosine, sine = ops.cos(angle), ops.sin(angle)
        return Poses(
            self.x - a * step.x - b * step.y,
            self.y - c * step.x - d * step.y,
            angle,
            cosine * b + sine * d,
            cosine * d - sine * b - 1,
        )

    def places(self, grid: Grid, ops: ArrayOperations) -> "Places":
        """Return the places in frames of the points of a grid on golden images, in pixels of the grid's level."""
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
    """Places in frames of points in rows and columns, in pixels.

    A pose is affine, so each coordinate is a sum of a part of the column and a part of the row. The sums, (frames,
    candidates, rows, columns), are made only for sampling.

    Attributes:
        x_of_column, y_of_column: Parts that depend on the column, (frames, candidates, columns) float32.
        x_of_row, y_of_row: Parts that depend on the row, (frames, candidates, rows) float32.
        shift_x, shift_y: Parts that depend on both, (frames, candidates, rows, columns) float32; 0 for a pose alone.
    """

    x_of_column: Any
    x_of_row: Any
    y_of_column: Any
    y_of_row: Any
    shift_x: Any = 0.0
    shift_y: Any = 0.0
