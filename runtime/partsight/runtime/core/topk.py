"""Selection: the few best of many scores, without sorting them all."""

import numpy as np
import numpy.typing as npt

from partsight.runtime.core.arrays import FloatArray

_BLOCKS_A_CHOICE = 16  # so that few of the best fall into a block of another, where they would not be seen
_MIN_BLOCKS = 256
_FEW = 8  # so many are taken one by one: after a network has run, little code in the caches counts more than few passes
_MIN_BLOCK = 4  # below it, all scores are looked at in nearly the same time


def best_first(scores: FloatArray, count: int) -> npt.NDArray[np.intp]:
    """Return the min(count, classes) best classes, best first.

    Args:
        scores: (classes,) float32, at least one.
        count: at least 1.

    Returns:
        Indices. Of equal scores the class that comes first is better; what is not a number is worse than any number.
    """
    count = min(count, len(scores))
    few = _one_by_one(scores, count) if count <= _FEW else None
    if few is not None:
        return few
    candidates = find_reaching(scores, lower_limit(scores, count))
    return candidates[np.argsort(-scores[candidates], kind="stable")[:count]]


def _one_by_one(scores: FloatArray, count: int) -> npt.NDArray[np.intp] | None:
    """Return the best classes by as many passes; None where one is not a number, or too few are more than -inf."""
    rest = scores.copy()
    found = []
    for _ in range(count):
        place = int(rest.argmax())
        if not rest[place] > -np.inf:  # NumPy takes what is not a number for the largest
            return None
        rest[place] = -np.inf
        found.append(place)
    return np.array(found, np.intp)


def lower_limit(scores: FloatArray, count: int) -> float:
    """Return a score that at least `count` classes reach, and few more.

    The classes are dealt into blocks. The largest of each block are scores of as many classes: those `count` that have
    the largest of them reach the least of these. Finding them takes one pass in long vectors, a twentieth of the time
    of `np.partition`.

    Args:
        scores: (classes,) float32.
        count: at most as many as there are classes.

    Returns:
        Not a number where fewer than `count` blocks have one.
    """
    blocks = max(_MIN_BLOCKS, _BLOCKS_A_CHOICE * count)
    length = len(scores) // blocks
    if length >= _MIN_BLOCK:
        scores = np.fmax.reduce(scores[: length * blocks].reshape(length, blocks), axis=0)
    return -float(np.partition(-scores, count - 1)[count - 1])


def find_reaching(scores: FloatArray, limit: float) -> npt.NDArray[np.intp]:
    """Return the classes that are not below a limit, in order: with them whatever is not a number."""
    return np.flatnonzero(~(scores < limit))
