"""Alignment: where golden images lie in frames, to a fraction of a pixel, and which of them fit best.

Inverse compositional image alignment (Baker and Matthews, "Lucas-Kanade 20 Years On", IJCV 56, 2004) needs the golden
image's gradients only, once: the bank holds the rows of the pseudo-inverse that turn a difference into a step. The gain
of the light is solved along with the pose (ibid., part 3), and a prior holds shear and stretch back (ibid., part 4).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from partsight.runtime.matching.layout import Layout
from partsight.runtime.matching.operations import ArrayOperations
from partsight.runtime.matching.poses import Poses

if TYPE_CHECKING:
    from partsight.runtime.matching.bank import Bank


_MAX_GAIN = 1.4  # by which light may differ from the golden image's
_MIDDLE_STEPS, _FINE_STEPS = 2, 3  # more change no answer

_MAX_STEP = 0.05  # of the longest side, and in radians: beyond it the linearisation says nothing
NEVER = 1e9
"""In place of a difference: not to be chosen."""


@dataclass(frozen=True)
class Finalists:
    """The candidates that fit best, each of another class.

    Attributes:
        index: among the candidates, (frames, finalists) int64.
        is_valid: whether there was one; where fewer classes are among the candidates, the rest is not.
    """

    index: Any
    is_valid: Any


def align_middle(
    middle: Any, candidates: Any, poses: Poses, bank: "Bank", layout: Layout, ops: ArrayOperations
) -> tuple[Poses, Any]:
    """Refine poses to a third of a pixel of the middle level, and compare there.

    Args:
        middle: the frames' middle level.
        candidates: rows of the bank, (frames, candidates).
        poses: where they about lie.
        bank: of references.
        layout: of references.
        ops: to compute with.

    Returns:
        Poses, and the mean square difference after the gain that makes it least, (frames, candidates).
    """
    golden = ops.take(bank.middle, candidates)
    rows, scale = ops.take(bank.middle_rows, candidates), ops.take(bank.middle_scale, candidates)
    for _ in range(_MIDDLE_STEPS):
        difference = ops.sample(middle, poses.places(layout.middle, ops))[0]
        difference -= golden
        *moves, gain = _values(rows, scale, difference, ops)
        x, y, angle = _held(gain, moves, ops)
        poses = poses.after_inverse_of(Poses(x, y, angle, x * 0.0, x * 0.0), ops)
    moved = ops.sample(middle, poses.places(layout.middle, ops))[0]
    moved /= gain_of(ops.dot(golden, moved), ops.dot(golden, golden), ops)[..., None]
    moved -= golden
    return poses, ops.dot(moved, moved) / golden.shape[-1]


def align_fine(fine: Any, candidates: Any, poses: Poses, bank: "Bank", layout: Layout, ops: ArrayOperations) -> Poses:
    """Refine poses to a fraction of a pixel, shear and stretch included, at full size."""
    golden, prior = ops.take(bank.fine, candidates), ops.take(bank.fine_prior, candidates)
    rows, scale = ops.take(bank.fine_rows, candidates), ops.take(bank.fine_scale, candidates)
    for _ in range(_FINE_STEPS):
        difference = ops.sample(fine, poses.places(layout.fine, ops))[0]
        difference -= golden
        drawn = ops.dot(prior, ops.stack([poses.shear, poses.stretch])[:, :, None])
        *moves, gain = _values(rows, scale, difference, ops, drawn)
        poses = poses.after_inverse_of(Poses(*_held(gain, moves, ops)), ops)
    return poses


def choose(difference: Any, classes: Any, count: int, ops: ArrayOperations) -> Finalists:
    """Return the candidates that differ least, at most one of each class.

    Args:
        difference: (frames, candidates).
        classes: of the candidates.
        count: of finalists.
        ops: to compute with.
    """
    width = classes.shape[1]
    order = ops.best(-difference, width)
    difference, classes = ops.pick(difference, order), ops.pick(classes, order)
    is_same = ops.where(classes[:, :, None] == classes[:, None, :], np.float32(1), np.float32(0))
    earlier = np.tril(np.ones((width, width), np.float32), -1)
    difference = ops.where(ops.sum(is_same * earlier, -1) > 0.5, np.float32(NEVER), difference)
    chosen = ops.best(-difference, min(count, width))
    return Finalists(ops.pick(order, chosen), ops.pick(difference, chosen) < 0.5 * NEVER)


def gain_of(product: Any, square: Any, ops: ArrayOperations) -> Any:
    """Return the gain that makes a difference least, within what light may do."""
    return ops.clip(product / ops.clip(square, 1.0, 1e12), 1 / _MAX_GAIN, _MAX_GAIN)


def _values(rows: Any, scale: Any, difference: Any, ops: ArrayOperations, drawn: Any = 0.0) -> list[Any]:
    """Return the unknowns that explain a difference, each (frames, candidates); the last is the gain."""
    values = ops.dot(rows, difference[:, :, None]) * scale + drawn
    return [values[:, :, place] for place in range(values.shape[2])]


def _held(gain: Any, moves: Any, ops: ArrayOperations) -> list[Any]:
    """Return moves under a gain of 1, at most as long as the linearisation holds."""
    gain = ops.clip(gain + 1.0, 0.5, 2.0)
    return [ops.clip(move / gain, -_MAX_STEP, _MAX_STEP) for move in moves]
