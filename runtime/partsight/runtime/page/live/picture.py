"""The picture of a result: the frame, and next to it the golden image of its best candidate in the frame's pose."""

import math

import cv2
import numpy as np

from partsight.runtime.core import Pixels
from partsight.runtime.images import Region
from partsight.runtime.matching import PartPose

PANEL_HW = 357, 476
"""Height and width of each of the two panels, in pixels: 4 : 3. What does not fill its panel is centred."""

GAP_PX = 8
"""Pixels between the panels."""

PICTURE_HW = PANEL_HW[0], 2 * PANEL_HW[1] + GAP_PX
"""Height and width of the picture, in pixels."""

_BACK = 38  # dark grey, on light and dark screens
_QUALITY = [cv2.IMWRITE_JPEG_QUALITY, 80]


def is_drawable(frame: object) -> bool:
    """Return whether a frame is a picture: a camera of another maker may return any object."""
    if not (isinstance(frame, np.ndarray) and frame.dtype == np.uint8 and frame.size):
        return False
    return frame.ndim == 2 or (frame.ndim == 3 and frame.shape[2] == 3)


def draw_picture(frame: Pixels, region: Region | None, golden: Pixels | None, pose: PartPose | None) -> bytes:
    """Return the picture as JPEG, `PICTURE_HW` pixels: the frame at the left, its golden image at the right.

    The golden image takes the frame's pose, so that the same place of both panels shows the same place of the part.

    Args:
        frame: Frame, (height, width, 3) uint8 BGR or (height, width) uint8.
        region: Crop of the package, in pixels of the frame; None for the whole frame.
        golden: Golden image at the size of the comparison, (height, width, 3) uint8 BGR; None for a frame that was
            compared with none: the right panel stays empty.
        pose: Pose of the golden image in the frame; None as for `golden`.
    """
    frame = _cropped(frame, region)
    height, width = _fitted(frame.shape[0], frame.shape[1])
    top, left = (PANEL_HW[0] - height) // 2, (PANEL_HW[1] - width) // 2
    picture = np.full((*PICTURE_HW, 3), _BACK, np.uint8)
    picture[top : top + height, left : left + width] = _shrunk(frame, (height, width))
    if golden is not None and pose is not None:
        left += PANEL_HW[1] + GAP_PX
        picture[top : top + height, left : left + width] = lay_over_frame(golden, pose, (height, width))
    return cv2.imencode(".jpg", picture, _QUALITY)[1].tobytes()


def lay_over_frame(golden: Pixels, pose: PartPose, size_hw: tuple[int, int]) -> Pixels:
    """Return a golden image in the pose of a frame; what lies beyond its edge repeats the edge.

    Args:
        golden: Golden image at the size of the comparison, (height, width, 3) uint8 BGR.
        pose: Its pose in the frame.
        size_hw: Height and width of the frame as it is shown, in pixels.

    Returns:
        (height, width, 3) uint8 BGR.
    """
    size = golden.shape[1], golden.shape[0]  # at its own size first: a warp costs far more than a resize
    affine = affine_of(pose, (golden.shape[0], golden.shape[1]))
    laid = cv2.warpAffine(golden, affine, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(cv2.resize(laid, size_hw[::-1], interpolation=cv2.INTER_LINEAR), np.uint8)


def affine_of(pose: PartPose, golden_hw: tuple[int, int]) -> np.ndarray:
    """Return the (2, 3) float64 matrix from pixels of a golden image to pixels of its frame at the same size.

    `matching.poses` defines a pose, in shares of the longest side. Pixel centres are whole numbers.
    """
    turn = math.radians(pose.turn_deg)
    cosine, sine, stretch = math.cos(turn), math.sin(turn), 1 + pose.stretch
    linear = np.array(
        [
            [cosine, cosine * pose.shear - sine * stretch],
            [sine, sine * pose.shear + cosine * stretch],
        ]
    )
    centre = (np.array(golden_hw[::-1]) - 1) / 2
    shift = np.array([pose.shift_x, pose.shift_y]) * max(golden_hw) + centre - linear @ centre
    return np.column_stack([linear, shift])


def _cropped(frame: Pixels, region: Region | None) -> Pixels:
    """Return the region of a frame; all of a frame that is too small for it, which the recogniser refuses."""
    if region is None or region.x + region.width > frame.shape[1] or region.y + region.height > frame.shape[0]:
        return frame
    return frame[region.y : region.y + region.height, region.x : region.x + region.width]


def _fitted(height: int, width: int) -> tuple[int, int]:
    scale = min(PANEL_HW[0] / height, PANEL_HW[1] / width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def _shrunk(frame: Pixels, size_hw: tuple[int, int]) -> Pixels:
    """Return a frame at another size, (height, width, 3) uint8 BGR.

    INTER_AREA is fast for halves alone, so a large frame is halved until less than one more half is left. An odd row or
    column at the edge gets lost.
    """
    height, width = size_hw
    while frame.shape[0] >= 2 * height and frame.shape[1] >= 2 * width:
        rows, columns = frame.shape[0] // 2, frame.shape[1] // 2
        half = cv2.resize(frame[: 2 * rows, : 2 * columns], (columns, rows), interpolation=cv2.INTER_AREA)
        frame = np.asarray(half, np.uint8)
    small = cv2.resize(frame, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(small if small.ndim == 3 else cv2.cvtColor(small, cv2.COLOR_GRAY2BGR), np.uint8)
