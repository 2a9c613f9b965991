"""Parallax: a part with height that turns under a camera which looks down at an angle is not a turned picture.

High features move against low ones, by a pixel or two, and no affine pose explains that. Without it, matching would
refuse good frames, the more the further they are turned. So each finalist gets a smooth field of small shifts: one for
each cell of a coarse mesh, interpolated linearly between the cells. It can follow a part's relief, and is too smooth to
cover a missing pin.

The shift v of a cell is the local solution of B. D. Lucas and T. Kanade, "An iterative image registration technique",
IJCAI 1981. With d, the difference of frame and golden image at the pose, g, the golden image's gradient, and w, a
Gaussian window around the cell, it minimises

    sum of w (d + g·v)² + STIFFNESS |v|²,    so    v = -(sum of w g gᵀ + STIFFNESS)⁻¹ sum of w d g.

The second term holds back shifts where the golden image shows little structure (S. Baker, R. Gross and I. Matthews,
"Lucas-Kanade 20 Years On, part 4", CMU-RI-TR-04-14, 2004). The matrix depends on the golden image alone, so the bank
holds its inverse.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from partsight.runtime.core import FloatArray
from partsight.runtime.matching.alignment import gain_of
from partsight.runtime.matching.layout import Grid, Layout
from partsight.runtime.matching.operations import ArrayOperations
from partsight.runtime.matching.poses import Places, Poses

if TYPE_CHECKING:
    from partsight.runtime.matching.bank import Bank

STIFFNESS = 10.0
"""Weight of the shift itself, in grey levels² a pixel²: fainter gradients than about 3 levels a pixel move little."""

_CELL_PX = 16  # references of packages have 192 px on their longest side
_WINDOW_SIGMA_PX = 12.0  # standard deviation of the window, so that windows of neighbours overlap
_STEPS = 2
_MAX_SHIFT_PX = 3.0  # more is not relief, but another part


@dataclass(frozen=True)
class Mesh:
    """The cells of references of one size.

    Attributes:
        rows, columns: Centre of each row and column of cells, in pixels.
    """

    rows: FloatArray
    columns: FloatArray

    @staticmethod
    @functools.lru_cache(8)
    def of(size_hw: tuple[int, int]) -> "Mesh":
        """Return the mesh for a size of references."""
        return Mesh(*(_centres(side) for side in size_hw))

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and of columns."""
        return len(self.rows), len(self.columns)

    def means(self, values: Any, grid: Grid) -> Any:
        """Return the mean of values in the window of each cell.

        Args:
            values: Values, (frames, candidates, points) at the points of the grid.
            grid: Points of a level of full size.

        Returns:
            (frames, candidates, rows, columns).
        """
        of_rows, of_columns = _weights(grid, _windows)
        square = values.reshape(-1, values.shape[1], *grid.shape)
        return of_rows.T @ (square @ of_columns)

    def spread(self, shifts: Any, grid: Grid) -> Any:
        """Return values of cells, (frames, candidates, rows, columns), at the points of a grid by interpolation."""
        of_rows, of_columns = _weights(grid, _hats)
        return of_rows @ (shifts @ of_columns.T)


@dataclass(frozen=True)
class Parallax:
    """Shift of each cell of each candidate's golden image, (frames, candidates, rows, columns) in its pixels.

    Attributes:
        right, down: Shift in the directions of the golden image's axes.
    """

    right: Any
    down: Any

    def pick(self, index: Any, ops: ArrayOperations) -> "Parallax":
        """Return the shifts of some candidates; `index` is (frames, fewer)."""
        return Parallax(ops.pick_blocks(self.right, index), ops.pick_blocks(self.down, index))

    def places(self, poses: Poses, grid: Grid, ops: ArrayOperations) -> Places:
        """Return the places in frames of the points of a grid of full size: at the pose, and shifted."""
        mesh, places = Mesh.of(grid.size_hw), poses.places(grid, ops)
        # The pose turns, shears and stretches the shift, too.
        a, b, c, d = (part[..., None, None] for part in poses.linear(ops))
        shift_x = mesh.spread(self.right * a + self.down * b, grid)
        shift_y = mesh.spread(self.right * c + self.down * d, grid)
        return Places(places.x_of_column, places.x_of_row, places.y_of_column, places.y_of_row, shift_x, shift_y)


def fit_parallax(
    fine: Any, candidates: Any, poses: Poses, bank: "Bank", layout: Layout, ops: ArrayOperations
) -> Parallax:
    """Return the shifts that lay golden images over frames better than the pose alone.

    Args:
        fine: Fine level of the frames, grey at full size.
        candidates: Rows of the bank, (frames, candidates).
        poses: Poses of the candidates.
        bank: Bank of references.
        layout: Points of the references.
        ops: Array operations.
    """
    # Shapes: golden (frames, candidates, points), slopes (2, frames, candidates, points),
    # inverse (3, frames, candidates, cells): the matrix is symmetric.
    mesh, grid = Mesh.of(layout.fine.size_hw), layout.fine
    golden = ops.take(bank.fine, candidates)
    square = ops.dot(golden, golden)
    slopes, scale = ops.take_planes(bank.fine_slopes, candidates), ops.take_planes(bank.fine_slope_scale, candidates)
    by_x, by_y = slopes[0], slopes[1]
    scale_x, scale_y = scale[0][..., None, None], scale[1][..., None, None]
    inverse = ops.take_planes(bank.parallax_inverse, candidates)
    across, mixed, along = (inverse[index].reshape(-1, candidates.shape[1], *mesh.shape) for index in range(3))
    right = down = across * 0.0
    for _ in range(_STEPS):
        rest = ops.sample(fine, Parallax(right, down).places(poses, grid, ops))[0]
        rest /= gain_of(ops.dot(rest, golden), square, ops)[..., None]
        rest -= golden
        # The right-hand side, with the stiffness of the shift so far: the sum of all steps is held back, not each step.
        first = mesh.means(rest * by_x, grid) * scale_x + right * STIFFNESS
        second = mesh.means(rest * by_y, grid) * scale_y + down * STIFFNESS
        right = ops.clip(right - across * first - mixed * second, -_MAX_SHIFT_PX, _MAX_SHIFT_PX)
        down = ops.clip(down - mixed * first - along * second, -_MAX_SHIFT_PX, _MAX_SHIFT_PX)
    return Parallax(right, down)


def parallax_inverse(by_x: FloatArray, by_y: FloatArray, grid: Grid) -> FloatArray:
    """Return (sum of w g gᵀ + STIFFNESS)⁻¹ of each cell, (3, cells) float32: its xx, xy and yy.

    Args:
        by_x, by_y: Gradient of the golden image to the right and down, (points,) in grey levels a pixel.
        grid: Points of the gradient.
    """
    mesh = Mesh.of(grid.size_hw)
    xx, xy, yy = (mesh.means(values[None, None], grid).ravel() for values in (by_x * by_x, by_x * by_y, by_y * by_y))
    xx, yy = xx + STIFFNESS, yy + STIFFNESS
    return np.asarray(np.stack([yy, -xy, xx]) / (xx * yy - xy * xy), np.float32)


def _centres(side: int) -> FloatArray:
    count = max(2, round(side / _CELL_PX))
    return ((np.arange(count) + 0.5) * (side / count) - 0.5).astype(np.float32)


@functools.lru_cache(32)
def _weights(grid: Grid, weigh: Callable[[FloatArray, FloatArray], FloatArray]) -> tuple[FloatArray, FloatArray]:
    """Return weights of each row of points for each row of cells, (points, cells), and those of the columns."""
    mesh = Mesh.of(grid.size_hw)
    return weigh(grid.rows, mesh.rows), weigh(grid.columns, mesh.columns)


def _windows(points: FloatArray, centres: FloatArray) -> FloatArray:
    """Return the weight of each point for each cell along one axis, (points, cells); they sum to 1 for each cell."""
    weight = np.exp(-0.5 * np.square((points[:, None] - centres) / _WINDOW_SIGMA_PX))
    return np.asarray(weight / weight.sum(axis=0), np.float32)


def _hats(points: FloatArray, centres: FloatArray) -> FloatArray:
    """Return the share of each cell at each point for linear interpolation along one axis, (points, cells)."""
    cells = np.clip((points - centres[0]) / (centres[1] - centres[0]), 0, len(centres) - 1)
    return np.asarray(np.maximum(0, 1 - np.abs(cells[:, None] - np.arange(len(centres)))), np.float32)
