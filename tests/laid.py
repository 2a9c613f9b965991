"""Real golden images moved by known matrices, which alignment must recover."""

from pathlib import Path

import cv2
import numpy as np

from partsight.runtime.core.arrays import Pixels
from partsight.runtime.images.image_file import read_image
from partsight.runtime.matching import MAX_PX
from partsight.runtime.matching.poses import Poses


def golden(example_parts: Path, part: str, side_px: int | None = None) -> Pixels:
    """Return the golden image of a part, (256, 256, 3) uint8 BGR, or at another side."""
    image = read_image(example_parts / "golden" / part / "golden.jpg")
    return image if side_px is None else cv2.resize(image, (side_px, side_px), interpolation=cv2.INTER_AREA)


def as_compared(image: Pixels) -> Pixels:
    """Return an image at the size at which frames are compared."""
    scale = MAX_PX / max(image.shape)
    width, height = (6 * max(6, round(side * scale / 6)) for side in (image.shape[1], image.shape[0]))
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def matrix_of(
    shape: tuple[int, ...],
    *,
    x: float = 0,
    y: float = 0,
    turn_deg: float = 0,
    shear: float = 0,
    stretch: float = 0,
    size: float = 1,
) -> np.ndarray:
    """Return the (3, 3) that maps a pixel of a golden image to its moved position.

    Args:
        shape: Shape (height, width, …) of the image.
        x, y: Shift to the right and down, in shares of the longest side.
        turn_deg: Turn about the middle, clockwise, degrees.
        shear: Shear to the right, in shares of the distance below the middle.
        stretch: Stretch along the vertical, as a share.
        size: Scale of the part; 1 for its original size.
    """
    height, width = shape[:2]
    center = np.array([[1, 0, (width - 1) / 2], [0, 1, (height - 1) / 2], [0, 0, 1]])
    shift = np.array([[1, 0, x * max(height, width)], [0, 1, y * max(height, width)], [0, 0, 1]])
    cosine, sine = np.cos(np.deg2rad(turn_deg)), np.sin(np.deg2rad(turn_deg))
    turn = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])
    tilt = np.array([[1, shear, 0], [0, 1 + stretch, 0], [0, 0, 1]])
    return shift @ center @ turn @ tilt @ np.diag([size, size, 1]) @ np.linalg.inv(center)


def laid(image: Pixels, **pose: float) -> Pixels:
    """Return an image with its part moved, see `matrix_of`; new pixels repeat the border."""
    matrix = matrix_of(image.shape, **pose)[:2]
    moved = cv2.warpAffine(image, matrix, image.shape[1::-1], flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.uint8)


def farthest_px(shape: tuple[int, ...], found: np.ndarray, true: np.ndarray) -> float:
    """Return the largest distance of two pixel maps, (2 or 3, 3), within the middle 70 % of the picture, px."""
    height, width = shape[:2]
    corners = np.array([[x * width, y * height, 1] for x in (0.15, 0.85) for y in (0.15, 0.85)])
    return float(np.hypot(*(corners @ (found[:2] - true[:2]).T).T).max())


def matrix_at(shape: tuple[int, ...], poses: Poses, frame: int = 0, candidate: int = 0) -> np.ndarray:
    """Return the (3, 3) of one of many poses, see `matrix_of`."""
    x, y, angle, shear, stretch = (float(values[frame, candidate]) for values in poses.values)
    return matrix_of(shape, x=x, y=y, turn_deg=float(np.rad2deg(angle)), shear=shear, stretch=stretch)
