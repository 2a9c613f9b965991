"""Levels: frames and golden images at the resolutions that they are compared at."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from partsight.runtime.matching.operations import ArrayOperations

_GREY = (0.114, 0.587, 0.299)  # weights of blue, green and red
_FINE_KERNEL = np.array([1, 5, 11, 14, 11, 5, 1], np.float32) / 48  # a binomial of 5 and a mean of 3: sigma 1.3 px
_COARSE_KERNEL = np.array([1, 4, 6, 4, 1], np.float32) / 16  # sigma 1 px


@dataclass(frozen=True)
class Levels:
    """Images of a batch, smoothed, at each resolution.

    Attributes:
        coarse, middle: grey, at 1/6 and 1/3 of the size.
        fine: grey at full size.
        colour: blue, green and red at full size.
    """

    coarse: Any
    middle: Any
    fine: Any
    colour: Any


def levels_of(frames: Any, ops: ArrayOperations) -> Levels:
    """Return the levels of (frames, height, width, 3) uint8 BGR."""
    colour = ops.images(frames)
    middle = ops.block_means(ops.mix(colour, _GREY), 3)
    smoothed = ops.smooth(colour, _FINE_KERNEL)
    fine = ops.mix(smoothed, _GREY)
    return Levels(
        coarse=ops.smooth(ops.block_means(middle, 2), _COARSE_KERNEL),
        middle=ops.smooth(middle, _COARSE_KERNEL),
        fine=fine,
        colour=ops.widen(smoothed, fine),
    )
