"""Screening: which golden images could fit a frame after a small change of pose, found for all of them at once.

To first order a frame that is moved a little is the frame itself plus its own gradients times the move, so all that it
may look like nearby lies in the span of four images: the frame, which a gain multiplies, and its derivatives by shift
and turn. What of a golden image lies outside of that span, no small move explains. The span is the same for all golden
images, which makes it one product of two matrices; compare the forward additive algorithm of Lucas and Kanade, first
step alone (Baker and Matthews, "Lucas-Kanade 20 Years On", IJCV 56, 2004).
"""

import cv2
import numpy as np

from partsight.runtime.alignment import centred
from partsight.runtime.session import FloatArray

BORDER_SHARE = 1 / 32
"""Of the longest side: what a shifted frame does not show."""


def inner(images: np.ndarray) -> np.ndarray:
    """Return (count, pixels) of (count, height, width), without a border."""
    border = round(max(images.shape[1:]) * BORDER_SHARE)
    return images[:, border : images.shape[1] - border, border : images.shape[2] - border].reshape(len(images), -1)


def span(level: FloatArray) -> FloatArray:
    """Return (pixels, 4) float32: an orthonormal basis of all that a frame may look like nearby, without a border.

    Args:
        level: of the frame, (height, width) float32.
    """
    right, down = centred(*level.shape)
    by_x, by_y = (cv2.Sobel(level, cv2.CV_32F, *axis) for axis in ((1, 0), (0, 1)))
    basis, _ = np.linalg.qr(inner(np.stack([level, by_x, by_y, right * by_y - down * by_x])).T)
    return np.asarray(basis, np.float32)


def unexplained(level: FloatArray, goldens: FloatArray) -> FloatArray:
    """Return how far each golden image is from all that a frame may look like nearby.

    Args:
        level: of the frame, (height, width) float32, moved to about where the golden images lie.
        goldens: (count, height, width) float32, of that level.

    Returns:
        (count,) float32: mean squares of what is left, in grey levels².
    """
    rows = inner(goldens)
    explained = rows @ span(level)
    left = np.einsum("np,np->n", rows, rows) - np.einsum("nk,nk->n", explained, explained)
    return np.asarray(left / rows.shape[1], np.float32)
