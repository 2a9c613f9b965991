"""Levels: frames and golden images at the resolutions of the comparison.

A coarse level has few points and a wide range: its gradients point to the right pose from several pixels away. A fine
level tells siblings apart. Each is smoothed, so that its gradients describe it beyond the next pixel (alignment takes
them as linear) and so that noise and the sensor's grain do not count.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from partsight.runtime.matching.operations import ArrayOperations

_GREY = (0.114, 0.587, 0.299)  # weights of blue, green and red: ITU-R BT.601
_FINE_KERNEL = np.array([1, 5, 11, 14, 11, 5, 1], np.float32) / 48  # binomial of 5 and mean of 3 taps: sigma 1.3 px
_COARSE_KERNEL = np.array([1, 4, 6, 4, 1], np.float32) / 16  # sigma 1 px


@dataclass(frozen=True)
class Levels:
    """Smoothed images of a batch at each resolution, in grey levels from 0 to 255, float32.

    Attributes:
        coarse: Grey at 1/6 of the size, for screening.
        middle: Grey at 1/3 of the size, for the alignment of candidates.
        fine: Grey at full size, for the alignment of finalists.
        colour: Blue, green and red at full size, for the agreement.
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
