"""OpenCV's VideoCapture, with a timeout and a lost device as different errors."""

import time
from collections.abc import Callable

import cv2
import numpy as np

from partsight.runtime.core import CameraLostError, CameraTimeoutError, Pixels


def receiver(capture: cv2.VideoCapture, source: str, patience_s: float) -> Callable[[], Pixels]:
    """Return a function that waits for the next picture of a capture that is open.

    OpenCV only reports that there was no picture. A capture that gave up after its read timeout may get pictures
    again; one that gave up at once has lost its device, and claims to be open for ever.

    Args:
        capture: Open capture.
        source: Address for errors.
        patience_s: Read timeout of the capture, in seconds.
    """

    def receive() -> Pixels:
        began = time.monotonic()
        came, image = capture.read()
        gave_up = time.monotonic() - began >= 0.9 * patience_s  # a picture that comes now waited in the decoder
        if came and not gave_up:
            return np.ascontiguousarray(image, np.uint8)  # OpenCV makes a new array for each
        if gave_up:
            cause = "check that the camera is on and sends"
            raise CameraTimeoutError(f"{source}: no frame came within {patience_s:g} s; {cause}")
        raise CameraLostError(f"{source}: ended or is gone; open it again")

    return receive
