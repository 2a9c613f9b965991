"""Frames that tests of recognition share, and what they compare of results."""

import numpy as np

from partsight.runtime import Pixels, Result
from tests.tiny import COLOURS_BGR, solid

COLOURS = list(COLOURS_BGR)
ORANGE = (0, 110, 255)
"""Red for the network, unknown by comparison with the golden images."""


def mixed(count: int, seed: int = 0) -> list[Pixels]:
    """Return frames of all colours and sizes with another gain on each, and some of random colours."""
    rng = np.random.default_rng(seed)
    frames = []
    for index in range(count):
        colour = COLOURS[rng.integers(len(COLOURS))] if index % 4 else tuple(rng.integers(0, 256, 3))
        frame = solid(colour, *rng.integers(20, 90, 2)).astype(int) + rng.integers(-40, 41, 3)
        frames.append(frame.clip(0, 255).astype(np.uint8))
    return frames


def answers(results: list[Result]) -> list[tuple[object, ...]]:
    """Return all of the results but their times."""
    return [(result.label, result.accepted, result.score, result.margin, result.top) for result in results]


def names(results: list[Result]) -> list[tuple[object, ...]]:
    """Return the parts in the results, without numbers."""
    return [(result.label, result.accepted, [candidate.label for candidate in result.top]) for result in results]


def numbers(results: list[Result]) -> list[float]:
    """Return the numbers in the results, without times."""
    return [
        number
        for result in results
        for number in (result.score, result.margin, *(candidate.score for candidate in result.top))
    ]
