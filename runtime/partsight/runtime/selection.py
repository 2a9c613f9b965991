"""Selection: the few best of many scores, without sorting them all."""

import numpy as np
import numpy.typing as npt

from partsight.runtime.engines.engine import FloatArray

_BLOCKS_A_CHOICE = 16  # so that few of the best fall into a block of another, where they would not be seen
_FEWEST_BLOCKS = 256
_SHORTEST_BLOCK = 4  # below it, all scores are looked at in nearly the same time


def best_first(scores: FloatArray, count: int) -> npt.NDArray[np.intp]:
    """Return the min(count, classes) best classes, best first.

    Args:
        scores: (classes,) float32, at least one.
        count: at least 1.

    Returns:
        Indices. Of equal scores the class that comes first is better; what is not a number is worse than any number.
    """
    count = min(count, len(scores))
    candidates = find_reaching(scores, lower_limit(scores, count))
    return candidates[np.argsort(-scores[candidates], kind="stable")[:count]]


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
    blocks = max(_FEWEST_BLOCKS, _BLOCKS_A_CHOICE * count)
    length = len(scores) // blocks
    if length >= _SHORTEST_BLOCK:
        scores = np.fmax.reduce(scores[: length * blocks].reshape(length, blocks), axis=0)
    return -float(np.partition(-scores, count - 1)[count - 1])


def find_reaching(scores: FloatArray, limit: float) -> npt.NDArray[np.intp]:
    """Return the classes that are not below a limit, in order: with them whatever is not a number."""
    return np.flatnonzero(~(scores < limit))
