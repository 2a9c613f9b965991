"""Screening: which golden images could fit a frame after a small change of pose, found for all of them at once.

To first order, a frame that is moved by (x, y, angle) in light of another gain is

    gain F + gain x Fx + gain y Fy + gain angle Ft,

where F is the frame and Fx, Fy, Ft are its derivatives by shift to the right, shift down and turn. So all its nearby
looks lie in the span of four images. With an orthonormal basis Q of that span, (points, 4), the part of a golden image
G outside of it has the square |G|² - |QᵀG|²: no small move explains that part. Q is the same for all golden images, so
one product of two matrices screens them all.

The four coefficients come from the same product. With [F Fx Fy Ft] = Q R, R upper triangular, they solve R c = QᵀG, and
c = gain (1, x, y, angle) gives each candidate's first pose. This is the first step of the forward additive algorithm of
Lucas and Kanade, with a gain (S. Baker and I. Matthews, "Lucas-Kanade 20 Years On", IJCV 56(3), 2004, section 3.1).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from partsight.runtime.matching.layout import Grid
from partsight.runtime.matching.operations import ArrayOperations
from partsight.runtime.matching.poses import Poses
from partsight.runtime.matching.spec import MatchingSpec

if TYPE_CHECKING:
    from partsight.runtime.matching.bank import Bank

_MAX_START = 0.12  # in shares of the longest side, and in radians: no frame of a controlled line is farther off
_TINY = 1e-3  # grey levels; keeps the basis of an even picture finite
_FAR = 1e12  # grey levels²; more than any sum of squared differences


def points_of(level: Any, ops: ArrayOperations) -> Any:
    """Return every second pixel, as on a chessboard: (frames, points) of (frames, height, width).

    The coarse level is so smooth that the other pixels show nothing new.
    """
    fields = [level[:, start::2, start::2] for start in (0, 1)]
    return ops.concat([field.reshape(-1, field.shape[1] * field.shape[2]) for field in fields])


def thumbnail_of(coarse: Any, ops: ArrayOperations) -> Any:
    """Return the points of coarse images without the border, (frames, points) in grey levels."""
    return points_of(ops.pixels(coarse)[:, 1:-1, 1:-1], ops)


def span(coarse: Any, ops: ArrayOperations) -> list[Any]:
    """Return each frame and its derivatives by shift right, shift down and turn, each (frames, points).

    Derivatives are in grey levels a longest side and a radian, by Sobel's operator: central differences,
    smoothed across by 1, 2, 1; 8 is the sum of its weights' magnitudes. A turn by the angle t moves the point (r, d),
    right of and below the centre, by t (-d, r), so its derivative is r Fy - d Fx.
    """
    level = ops.pixels(coarse)
    height, width = level.shape[1:]
    scale = max(height, width) / 8
    above_below = level[:, :-2] + level[:, 1:-1] * 2.0 + level[:, 2:]
    left_right = level[:, :, :-2] + level[:, :, 1:-1] * 2.0 + level[:, :, 2:]
    by_x = points_of((above_below[:, :, 2:] - above_below[:, :, :-2]) * scale, ops)
    by_y = points_of((left_right[:, 2:] - left_right[:, :-2]) * scale, ops)
    grid = Grid.inner((height, width), 1)
    right, down = (points_of(shares[None], ArrayOperations()) for shares in np.meshgrid(grid.right, grid.down))
    return [thumbnail_of(coarse, ops), by_x, by_y, by_y * right - by_x * down]


def screen(
    coarse: Any, score: Any, bank: "Bank", spec: MatchingSpec, ops: ArrayOperations, excluded: Any = None
) -> tuple[Any, Poses]:
    """Return the references that could fit each frame, and their approximate poses.

    Args:
        coarse: Coarse level of the frames, grey at 1/6 of the size.
        score: Scores of the network, (frames, classes) float32.
        bank: Bank of references.
        spec: Numbers of candidates.
        ops: Array operations.
        excluded: Classes to leave out for each frame, (frames, classes) bool, for calibration; None for none.

    Returns:
        Rows of the bank, (frames, candidates) int64; thumbnails and network may name the same row. And their poses.
    """
    basis, upper = orthonormal(span(coarse, ops), ops)
    directions = ops.stack(basis)
    if excluded is not None:
        score = ops.where(excluded, np.float32(-_FAR), score)
    named = ops.take_index(bank.references_of, ops.best(score, min(spec.by_network, bank.classes)))
    candidates = _best_of_each(named, bank, directions, ops)
    if spec.by_thumbnail:
        fit = ops.explained(bank.thumbnails, directions) - bank.thumbnail_squares
        if excluded is not None:
            fit = ops.where(excluded[:, bank.class_of], np.float32(-_FAR), fit)
        candidates = ops.concat([ops.best(fit, min(spec.by_thumbnail, bank.count)), candidates])
    inside = ops.take(bank.thumbnails, candidates) @ directions
    return candidates, _poses(inside, upper, ops)


def rank(coarse: Any, classes: Any, bank: "Bank", ops: ArrayOperations) -> Any:
    """Return how many thumbnails of other classes fit each frame better than its own class's best, (frames,).

    Calibration finds the number of candidates with it. The graph does not have it.
    """
    basis, _ = orthonormal(span(coarse, ops), ops)
    fit = ops.explained(bank.thumbnails, ops.stack(basis)) - bank.thumbnail_squares
    own = ops.pick(fit[:, bank.references_of].max(axis=2), classes[:, None])
    return (fit > own).sum(axis=1)


def _best_of_each(named: Any, bank: "Bank", directions: Any, ops: ArrayOperations) -> Any:
    """Return the best reference of each class, (frames, classes), of (frames, classes, references of a class)."""
    _, classes, references = named.shape
    if references == 1:
        return named[:, :, 0]
    flat = named.reshape(-1, classes * references)
    inside = ops.take(bank.thumbnails, flat) @ directions
    fit = ops.sum(inside * inside, -1) - ops.take(bank.thumbnail_squares, flat)
    return ops.pick(named, ops.best(fit.reshape(-1, classes, references), 1))[:, :, 0]


def orthonormal(vectors: Sequence[Any], ops: ArrayOperations) -> tuple[list[Any], list[list[Any]]]:
    """Return the basis Q, each vector (frames, points), and R: `upper[j][i]` is the share of axis i in vector j.

    This is the modified Gram-Schmidt process. Four images that differ as much as these need no second pass. R is
    returned by columns: column j has j + 1 entries, each (frames, 1).
    """
    basis: list[Any] = []
    upper: list[list[Any]] = []
    for vector in vectors:
        rest, parts = vector, list[Any]()
        for axis in basis:
            part = ops.dot(rest, axis)[:, None]
            rest = rest - axis * part
            parts.append(part)
        length = ops.sqrt(ops.dot(rest, rest))[:, None] + _TINY
        basis.append(rest / length)
        upper.append([*parts, length])
    return basis, upper


def _poses(inside: Any, upper: Sequence[Sequence[Any]], ops: ArrayOperations) -> Poses:
    """Solve R c = inside by back substitution, and return c = gain (1, x, y, angle) as poses.

    Args:
        inside: Coefficients QᵀG of each candidate, (frames, candidates, 4).
        upper: Columns of R; see `orthonormal`.
        ops: Array operations.
    """
    moves: list[Any] = []
    for row in (3, 2, 1, 0):
        known = inside[:, :, row]
        for column, move in zip(range(3, row, -1), moves, strict=False):
            known = known - move * upper[column][row]
        moves.append(known / upper[row][row])
    angle, y, x, gain = moves
    gain = ops.clip(gain, 0.5, 2.0)
    x, y, angle = (ops.clip(move / gain, -_MAX_START, _MAX_START) for move in (x, y, angle))
    nothing = x * 0.0
    return Poses(x, y, angle, nothing, nothing)
