"""Appearance: how sharp and how bright a frame is, beside the golden image of the part that it shows.

Focus. A lens that is out of focus takes the finest detail first, and noise looks like detail. So the energy of the
Laplacian (Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy: a comparative study", ICPR 2000) is
taken at a scale of a pixel or two, where little noise is left, as a difference of Gaussians (Marr and Hildreth, "Theory
of edge detection", 1980), and divided by that of coarser detail, which light and contrast change alike. Pertuz et al.,
"Analysis of focus measure operators for shape-from-focus", Pattern Recognition 46, 2013, compare both ideas: the
variance of the Laplacian, and the ratio of fine to coarse coefficients.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from partsight.runtime.core import FloatArray, Pixels

_FINE_PX = (1.0, 1.6)  # standard deviations of the two that are subtracted
_COARSE_PX = (1.0, 4.0)  # the same, at half the size
_BORDER_SHARE = 1 / 20  # of the longest side; what a shifted frame does not show
_MIN_DETAIL = 0.5  # grey levels² a pixel; of noise of 2.5 levels 0.13 are left
_MIN_LEVEL = 0.5  # of 255


@dataclass(frozen=True)
class Appearance:
    """A frame beside a golden image.

    Attributes:
        focus_ratio: sharpness of the frame, 1 for that of the golden image and less where it is blurred; None where
            the golden image has too little detail to tell.
        exposure_ev: log2 of the ratio of mean grey levels, 0 where they are equal. Levels are taken as they come: of a
            camera with a gamma of 2.2, half the light is −0.45; and what is brighter than white is read as white.
    """

    focus_ratio: float | None
    exposure_ev: float


def appearance_of(frame: Pixels, golden: Pixels) -> Appearance:
    """Measure a frame beside the golden image of its part.

    Args:
        frame: (height, width, 3) uint8 BGR.
        golden: the same, of the same size.
    """
    seen, expected = _detail(frame), _detail(golden)
    focus_ratio = None
    if min(expected) >= _MIN_DETAIL:
        focus_ratio = math.sqrt(seen[0] / max(seen[1], _MIN_DETAIL) / (expected[0] / expected[1]))
    level, golden_level = (max(float(image.mean()), _MIN_LEVEL) for image in (frame, golden))
    return Appearance(focus_ratio, math.log2(level / golden_level))


def _detail(image: Pixels) -> tuple[float, float]:
    """Return the energy of fine and of coarse detail, in grey levels² a pixel."""
    grey = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.float32)
    half = cv2.resize(grey, (grey.shape[1] // 2, grey.shape[0] // 2), interpolation=cv2.INTER_AREA)
    return _energy(grey, *_FINE_PX), _energy(np.asarray(half, np.float32), *_COARSE_PX)


def _energy(grey: FloatArray, inner_px: float, outer_px: float) -> float:
    band = cv2.subtract(cv2.GaussianBlur(grey, (0, 0), inner_px), cv2.GaussianBlur(grey, (0, 0), outer_px))
    border = round(max(grey.shape) * _BORDER_SHARE)
    inner = np.asarray(band)[border : grey.shape[0] - border, border : grey.shape[1] - border]
    return float(np.square(inner).mean())
