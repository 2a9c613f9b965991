"""Appearance: how sharp and how bright a frame is, compared with the golden image of its part.

A lens that is out of focus loses the finest detail first. Noise is fine detail, too, so the measure takes detail at a
scale of a pixel or two, where little noise is left: the energy of the Laplacian (J. L. Pech-Pacheco et al., "Diatom
autofocusing in brightfield microscopy: a comparative study", ICPR 2000) as a difference of Gaussians (D. Marr and E.
Hildreth, "Theory of edge detection", 1980). It divides this energy by the energy of coarser detail: light and contrast
change both alike. S. Pertuz et al., "Analysis of focus measure operators for shape-from-focus", Pattern Recognition 46,
2013, compare both ideas, the variance of the Laplacian and the ratio of fine to coarse coefficients.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from partsight.runtime.core import FloatArray, Pixels

_FINE_PX = (1.0, 1.6)  # standard deviations of the two Gaussians that are subtracted
_COARSE_PX = (1.0, 4.0)  # the same, in pixels at half the size
_BORDER_SHARE = 1 / 20  # of the longest side; a shifted frame does not show the border
_MIN_DETAIL = 0.5  # grey levels² a pixel; noise of 2.5 levels leaves 0.13
_MIN_LEVEL = 0.5  # of 255 grey levels


@dataclass(frozen=True)
class Appearance:
    """Sharpness and brightness of a frame relative to a golden image.

    Attributes:
        focus_ratio: Sharpness of the frame divided by that of the golden image, less than 1 for a blurred frame; None
            if the golden image has too little detail.
        exposure_ev: log2 of the ratio of mean grey levels, 0 if they are equal. Grey levels are not linear in light:
            with a camera's gamma of 2.2, half the light is −0.45. Overexposed pixels count as white.
    """

    focus_ratio: float | None
    exposure_ev: float


def appearance_of(frame: Pixels, golden: Pixels) -> Appearance:
    """Compare a frame with the golden image of its part.

    Args:
        frame: Frame, (height, width, 3) uint8 BGR.
        golden: Golden image of the same size, (height, width, 3) uint8 BGR.
    """
    seen, expected = _detail(frame), _detail(golden)
    focus_ratio = None
    if min(expected) >= _MIN_DETAIL:
        focus_ratio = math.sqrt(seen[0] / max(seen[1], _MIN_DETAIL) / (expected[0] / expected[1]))
    level, golden_level = (max(float(image.mean()), _MIN_LEVEL) for image in (frame, golden))
    return Appearance(focus_ratio, math.log2(level / golden_level))


def _detail(image: Pixels) -> tuple[float, float]:
    """Return the mean energy of fine and of coarse detail, in grey levels² a pixel."""
    grey = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.float32)
    half = cv2.resize(grey, (grey.shape[1] // 2, grey.shape[0] // 2), interpolation=cv2.INTER_AREA)
    return _energy(grey, *_FINE_PX), _energy(np.asarray(half, np.float32), *_COARSE_PX)


def _energy(grey: FloatArray, inner_px: float, outer_px: float) -> float:
    band = cv2.subtract(cv2.GaussianBlur(grey, (0, 0), inner_px), cv2.GaussianBlur(grey, (0, 0), outer_px))
    border = round(max(grey.shape) * _BORDER_SHARE)
    inner = np.asarray(band)[border : grey.shape[0] - border, border : grey.shape[1] - border]
    return float(np.square(inner).mean())
