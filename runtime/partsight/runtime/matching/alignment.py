"""Alignment: where golden images lie in frames, to a fraction of a pixel, and which candidates fit best.

The method is inverse compositional image alignment: S. Baker and I. Matthews, "Lucas-Kanade 20 Years On: A Unifying
Framework", International Journal of Computer Vision 56(3), 2004, section 3.2.

A pose p takes each point x of the golden image G to a point W(x; p) of the frame F. One step

1. samples the frame at all points and subtracts: d(x) = F(W(x; p)) - G(x);
2. solves the linear least squares problem d = J s for the small step s, where J(x) is the derivative of G(W(x; s)) by s
   at s = 0;
3. replaces p by "p after the inverse of s"; see `Poses.after_inverse_of`.

J depends on the golden image alone, not on the frame or the pose. So (JᵀJ)⁻¹Jᵀ is computed once, when the bank is
prepared (`preparation`), and a step costs one sampling and one product of a matrix and a vector.

Light: the frame is the golden image times an unknown gain 1 + g. Then d ≈ (1 + g) J s + g G, so g is one more unknown,
whose derivative is G itself (S. Baker, R. Gross and I. Matthews, part 3, CMU-RI-TR-03-35, 2003). The solution holds
(1 + g) s; `_moves` divides it by the gain.

Prior: on a controlled line, shear and stretch are small. A quadratic penalty holds both back where the picture says
little about them (S. Baker, R. Gross and I. Matthews, part 4, CMU-RI-TR-04-14, 2004).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from partsight.runtime.matching.layout import Layout
from partsight.runtime.matching.operations import ArrayOperations
from partsight.runtime.matching.poses import Poses

if TYPE_CHECKING:
    from partsight.runtime.matching.bank import Bank


_MAX_GAIN = 1.4  # largest ratio of the light of frame and golden image, and 1 / _MAX_GAIN the smallest
_MIDDLE_STEPS, _FINE_STEPS = 2, 3  # further steps change no answer
_MAX_STEP = 0.05  # in shares of the longest side, and in radians: the linear model fails beyond it

NEVER = 1e9
"""Replaces the difference of a candidate that must not be chosen, in grey levels²."""


@dataclass(frozen=True)
class Finalists:
    """The candidates that fit best, each of another class.

    Attributes:
        index: Index among the candidates, (frames, finalists) int64.
        is_valid: Whether the finalist exists, (frames, finalists) bool; False if the candidates have fewer classes.
    """

    index: Any
    is_valid: Any


def align_middle(
    middle: Any, candidates: Any, poses: Poses, bank: "Bank", layout: Layout, ops: ArrayOperations
) -> tuple[Poses, Any]:
    """Refine shift and turn to a third of a pixel of the middle level, and compare there.

    Args:
        middle: Middle level of the frames, grey at 1/3 of the size.
        candidates: Rows of the bank, (frames, candidates).
        poses: First poses of the candidates, from `screening`.
        bank: Bank of references.
        layout: Points of the references.
        ops: Array operations.

    Returns:
        Poses, and the mean square difference at the best gain, (frames, candidates) in grey levels².
    """
    # Shapes: golden (frames, candidates, points), rows (frames, candidates, 4, points): x, y, turn, gain.
    golden = ops.take(bank.middle, candidates)
    rows, scale = ops.take(bank.middle_rows, candidates), ops.take(bank.middle_scale, candidates)
    for _ in range(_MIDDLE_STEPS):
        difference = ops.sample(middle, poses.places(layout.middle, ops))[0]
        difference -= golden
        x, y, angle = _moves(_solve(rows, scale, difference, ops), ops)
        poses = poses.after_inverse_of(Poses(x, y, angle, x * 0.0, x * 0.0), ops)
    moved = ops.sample(middle, poses.places(layout.middle, ops))[0]
    moved /= gain_of(ops.dot(golden, moved), ops.dot(golden, golden), ops)[..., None]
    moved -= golden
    return poses, ops.dot(moved, moved) / golden.shape[-1]


def align_fine(fine: Any, candidates: Any, poses: Poses, bank: "Bank", layout: Layout, ops: ArrayOperations) -> Poses:
    """Refine poses to a fraction of a pixel at full size, with shear and stretch.

    Args:
        fine: Fine level of the frames, grey at full size.
        candidates: Rows of the bank, (frames, finalists).
        poses: Poses at the middle level.
        bank: Bank of references.
        layout: Points of the references.
        ops: Array operations.
    """
    # Shapes: rows (frames, finalists, 6, points): x, y, turn, shear, stretch, gain; prior (frames, finalists, 6, 2).
    golden, prior = ops.take(bank.fine, candidates), ops.take(bank.fine_prior, candidates)
    rows, scale = ops.take(bank.fine_rows, candidates), ops.take(bank.fine_scale, candidates)
    for _ in range(_FINE_STEPS):
        difference = ops.sample(fine, poses.places(layout.fine, ops))[0]
        difference -= golden
        pull = ops.dot(prior, ops.stack([poses.shear, poses.stretch])[:, :, None])  # of the prior, towards 0
        poses = poses.after_inverse_of(Poses(*_moves(_solve(rows, scale, difference, ops, pull), ops)), ops)
    return poses


def choose(difference: Any, classes: Any, count: int, ops: ArrayOperations) -> Finalists:
    """Return the candidates that differ least, at most one of each class.

    Args:
        difference: Mean square difference, (frames, candidates) in grey levels².
        classes: Class of each candidate, (frames, candidates).
        count: Number of finalists.
        ops: Array operations.
    """
    # Sorted by difference, a candidate is dropped if an earlier one is of its class: the sum over the lower triangle of
    # "same class", (frames, candidates, candidates), counts the earlier ones. No loop, so that it can be a graph.
    width = classes.shape[1]
    order = ops.best(-difference, width)
    difference, classes = ops.pick(difference, order), ops.pick(classes, order)
    is_same = ops.where(classes[:, :, None] == classes[:, None, :], np.float32(1), np.float32(0))
    earlier = np.tril(np.ones((width, width), np.float32), -1)
    difference = ops.where(ops.sum(is_same * earlier, -1) > 0.5, np.float32(NEVER), difference)
    chosen = ops.best(-difference, min(count, width))
    return Finalists(ops.pick(order, chosen), ops.pick(difference, chosen) < 0.5 * NEVER)


def gain_of(product: Any, square: Any, ops: ArrayOperations) -> Any:
    """Return the gain a that makes |first - a second|² least, held to the limits of light.

    That is a = <first, second> / <second, second>.

    Args:
        product: Sum of products of both.
        square: Sum of squares of the second.
        ops: Array operations.
    """
    return ops.clip(product / ops.clip(square, 1.0, 1e12), 1 / _MAX_GAIN, _MAX_GAIN)


def _solve(rows: Any, scale: Any, difference: Any, ops: ArrayOperations, pull: Any = 0.0) -> list[Any]:
    """Return the unknowns that explain a difference, each (frames, candidates); the last one is the gain minus 1.

    Args:
        rows: Rows of the pseudo-inverse, (frames, candidates, unknowns, points), in steps of int8.
        scale: Factor of each row, (frames, candidates, unknowns).
        difference: Difference of frame and golden image, (frames, candidates, points) in grey levels.
        ops: Array operations.
        pull: Pull of the prior on each unknown, (frames, candidates, unknowns).
    """
    unknowns = ops.dot(rows, difference[:, :, None]) * scale + pull
    return [unknowns[:, :, index] for index in range(unknowns.shape[2])]


def _moves(unknowns: list[Any], ops: ArrayOperations) -> list[Any]:
    """Return the moves at a gain of 1, at most as long as the linear model holds; the last unknown is the gain."""
    *moves, gain = unknowns
    gain = ops.clip(gain + 1.0, 0.5, 2.0)
    return [ops.clip(move / gain, -_MAX_STEP, _MAX_STEP) for move in moves]
