"""Screening: which golden images could fit a frame after a small change of pose, found for all of them at once.

To first order a frame that is moved a little is the frame itself plus its own gradients times the move, so all that it
may look like nearby lies in the span of four images: the frame, which a gain multiplies, and its derivatives by shift
and turn. What of a golden image lies outside of that span, no small move explains. The span is the same for all golden
images, which makes it one product of two matrices; compare the forward additive algorithm of Lucas and Kanade, first
step alone (Baker and Matthews, "Lucas-Kanade 20 Years On", IJCV 56, 2004). The coefficients within the span are each
candidate's first pose.
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

_MAX_START = 0.12  # of the longest side, and in radians: no frame of a controlled line lies beyond
_TINY = 1e-3
_FAR = 1e12  # more than any square of differences


def points_of(level: Any, ops: ArrayOperations) -> Any:
    """Return (frames, points) of (frames, height, width): every second pixel, as on a chessboard.

    The coarse level is smoothed so far that the others show nothing new.
    """
    fields = [level[:, start::2, start::2] for start in (0, 1)]
    return ops.concat([field.reshape(-1, field.shape[1] * field.shape[2]) for field in fields])


def thumbnail_of(coarse: Any, ops: ArrayOperations) -> Any:
    """Return the points of coarse images, (frames, points), none of them on the border."""
    return points_of(ops.pixels(coarse)[:, 1:-1, 1:-1], ops)


def span(coarse: Any, ops: ArrayOperations) -> list[Any]:
    """Return what a frame may look like nearby: itself and its derivatives by shift and turn, each (frames, points)."""
    level = ops.pixels(coarse)
    height, width = level.shape[1:]
    scale = max(height, width) / 8
    above_below = level[:, :-2] + level[:, 1:-1] * 2.0 + level[:, 2:]
    beside = level[:, :, :-2] + level[:, :, 1:-1] * 2.0 + level[:, :, 2:]
    by_x = points_of((above_below[:, :, 2:] - above_below[:, :, :-2]) * scale, ops)
    by_y = points_of((beside[:, 2:] - beside[:, :-2]) * scale, ops)
    grid = Grid.inner((height, width), 1)
    right, down = (points_of(shares[None], ArrayOperations()) for shares in np.meshgrid(grid.right, grid.down))
    return [thumbnail_of(coarse, ops), by_x, by_y, by_y * right - by_x * down]


def screen(
    coarse: Any, score: Any, bank: "Bank", spec: MatchingSpec, ops: ArrayOperations, excluded: Any = None
) -> tuple[Any, Poses]:
    """Name the references that could fit each frame, and about where they lie.

    Args:
        coarse: the frames' coarse level.
        score: (frames, classes) float32, the network's.
        bank: of references.
        spec: how many.
        ops: to compute with.
        excluded: (frames, classes) bool, those that are left out, for calibration; None for none.

    Returns:
        Rows of the bank, (frames, candidates) int64: one may stand there twice. And their poses.
    """
    basis, upper = _orthonormal(span(coarse, ops), ops)
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
    """Return how many other classes' thumbnails fit each frame better than those of its own class, (frames,).

    For calibration, which learns from it how many candidates are enough; not traced.
    """
    basis, _ = _orthonormal(span(coarse, ops), ops)
    fit = ops.explained(bank.thumbnails, ops.stack(basis)) - bank.thumbnail_squares
    best = fit[:, bank.references_of].max(axis=2)
    return (best > ops.pick(best, classes[:, None])).sum(axis=1)


def _best_of_each(named: Any, bank: "Bank", directions: Any, ops: ArrayOperations) -> Any:
    """Return that reference of each class which fits best; named is (frames, classes, references of a class)."""
    _, classes, references = named.shape
    if references == 1:
        return named[:, :, 0]
    flat = named.reshape(-1, classes * references)
    inside = ops.take(bank.thumbnails, flat) @ directions
    fit = ops.sum(inside * inside, -1) - ops.take(bank.thumbnail_squares, flat)
    return ops.pick(named, ops.best(fit.reshape(-1, classes, references), 1))[:, :, 0]


def _orthonormal(vectors: Sequence[Any], ops: ArrayOperations) -> tuple[list[Any], list[list[Any]]]:
    """Return an orthonormal basis, each (frames, points), and what each vector is made of it.

    By the modified Gram-Schmidt process, which four images that differ as much as these need no more than once.
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
    """Solve for the moves whose coefficients in the basis are `inside`, (frames, candidates, 4), from last to first."""
    moves: list[Any] = []
    for place in (3, 2, 1, 0):
        known = inside[:, :, place]
        for later, move in zip(range(3, place, -1), moves, strict=False):
            known = known - move * upper[later][place]
        moves.append(known / upper[place][place])
    angle, y, x, gain = moves
    gain = ops.clip(gain, 0.5, 2.0)
    x, y, angle = (ops.clip(move / gain, -_MAX_START, _MAX_START) for move in (x, y, angle))
    nothing = x * 0.0
    return Poses(x, y, angle, nothing, nothing)
