"""Prepare a camera frame for a bundle with OpenCV, without partsight: rule "sampled-area" of docs/bundle.md."""

import math

import cv2
import numpy as np


def prepare(frame: np.ndarray, preprocess: dict) -> np.ndarray:
    """Crop and resize one frame.

    Args:
        frame: Frame, (height, width, 3) uint8 BGR; (height, width) uint8 if `preprocess["color"]` is `mono`.
        preprocess: Entry `preprocess` of the bundle's metadata.

    Returns:
        Input of the bundle for one frame, (preprocess["height"], preprocess["width"], 3) uint8 BGR.
    """
    if region := preprocess["region"]:
        golden_hw = preprocess.get("golden_hw")  # earlier bundles do not have it
        if golden_hw and [*frame.shape[:2]] != golden_hw:
            raise ValueError(f"the frame's height and width are {frame.shape[:2]}, the golden images' {golden_hw}")
        x, y, width, height = (region[key] for key in ("x", "y", "width", "height"))
        if y + height > frame.shape[0] or x + width > frame.shape[1]:
            raise ValueError(f"the frame of {frame.shape[1]}×{frame.shape[0]} px is smaller than the region {region}")
        frame = frame[y : y + height, x : x + width]
    small = resize(frame, preprocess["height"], preprocess["width"])
    return small if small.ndim == 3 else cv2.cvtColor(small, cv2.COLOR_GRAY2BGR)


def resize(frame: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize a frame to height × width pixels."""
    rows, columns = frame.shape[:2]
    if rows % 2 == columns % 2 == 0 and rows >= 4 * height and columns >= 4 * width:
        halved = cv2.resize(frame, (columns // 2, rows // 2), interpolation=cv2.INTER_AREA)
        return resize(halved, height, width)
    if rows < height or columns < width:
        return cv2.resize(frame, (width, height), interpolation=cv2.INTER_LINEAR)
    if rows < 2 * height or columns < 2 * width:
        return cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)
    size = (width * samples(columns / width), height * samples(rows / height))
    while True:
        frame = cv2.resize(frame, size, interpolation=cv2.INTER_LINEAR)
        if size == (width, height):
            return frame
        size = (max(size[0] // 2, width), max(size[1] // 2, height))


def samples(ratio: float) -> int:
    """Return the number of samples along one axis for one pixel of the result."""
    return 2 ** max(1, math.floor(math.log2(ratio / 1.1)))
