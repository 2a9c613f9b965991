"""Pictures of an explanation for a browser: golden image, frame and difference, each a file to lay over the others."""

from collections.abc import Mapping

import cv2
import numpy as np

from partsight.runtime.core import FloatArray, Pixels
from partsight.runtime.matching import Overlay
from partsight.runtime.recognition import Explanation

HEAT = ((1.0, "#ffd21a"), (2.0, "#ff8c00"), (4.0, "#e3120b"), (8.0, "#6e0010"))
"""Multiples of the tolerance and their colours: yellow at the tolerance, dark red at 8 times."""

_VISIBLE = (0.6, 1.2)  # multiples of the tolerance from which, and up to which, the difference appears
_QUALITY = 92
_FRAME_PX = 1000


def pictures_of(explanation: Explanation | None, frame: Pixels | None) -> Mapping[str, bytes]:
    """Return the files of an explanation, by name.

    Args:
        explanation: The explanation; None for a frame that no package answers.
        frame: The frame as it came, (height, width, 3) uint8 BGR or (height, width) uint8; None if there is none.

    Returns:
        `frame.jpg`, if the frame is a picture; and for each overlay, NAME being `best`, `next` or `pair`:
        `NAME-golden.jpg`, `NAME-laid.jpg` and `NAME-difference.png`.
    """
    files = {"frame.jpg": jpeg_of(frame, _FRAME_PX)} if frame is not None and _is_picture(frame) else {}
    if explanation is None:
        return files
    overlays = {"best": explanation.best, "next": explanation.runner_up, "pair": explanation.pair}
    for name, overlay in overlays.items():
        if overlay is not None:
            files |= {f"{name}-{file}": data for file, data in _files_of(overlay).items()}
    return files


def jpeg_of(image: Pixels, most_px: int) -> bytes:
    """Return an image as JPEG, scaled down if it is wider or higher than `most_px`.

    Args:
        image: Image, (height, width, 3) uint8 BGR or (height, width) uint8.
        most_px: Longest side of the result, in pixels.
    """
    scale = most_px / max(image.shape[:2])
    if scale < 1:
        size = tuple(max(1, round(side * scale)) for side in image.shape[1::-1])
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return data.tobytes()


def difference_layer(difference: FloatArray) -> Pixels:
    """Return differences as colours that are clear where pictures agree, (height, width, 4) uint8 BGR and alpha.

    Args:
        difference: Differences in multiples of the tolerance, (height, width) float32.
    """
    places = [place for place, _ in HEAT]
    colours = np.array([[int(colour[first : first + 2], 16) for first in (5, 3, 1)] for _, colour in HEAT], np.float32)
    layer = np.empty((*difference.shape, 4), np.float32)
    for channel in range(3):
        layer[..., channel] = np.interp(difference, places, colours[:, channel])
    layer[..., 3] = 255 * np.clip((difference - _VISIBLE[0]) / (_VISIBLE[1] - _VISIBLE[0]), 0, 1)
    return np.asarray(np.rint(layer), np.uint8)


def _is_picture(frame: Pixels) -> bool:
    """Whether a frame can be encoded: one that failed may be anything."""
    return frame.dtype == np.uint8 and 0 not in frame.shape and (frame.ndim == 2 or frame.shape[2:] == (3,))


def _files_of(overlay: Overlay) -> dict[str, bytes]:
    _, difference = cv2.imencode(".png", difference_layer(overlay.difference))
    side = max(overlay.golden.shape[:2])
    return {
        "golden.jpg": jpeg_of(overlay.golden, side),
        "laid.jpg": jpeg_of(overlay.laid, side),
        "difference.png": difference.tobytes(),
    }
