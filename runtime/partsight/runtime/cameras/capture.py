"""OpenCV's VideoCapture, with its failures told apart."""

import time
from collections.abc import Callable

import cv2
import numpy as np

from partsight.runtime.core import CameraLostError, CameraTimeoutError, Pixels


def receiver(capture: cv2.VideoCapture, source: str, patience_s: float) -> Callable[[], Pixels]:
    """Return a function that waits for the next picture of a capture that is open.

    OpenCV says only that there was no picture. One that gave up after its read timeout may still be fed; one that gave
    up at once has lost its device, and stays "opened" for ever.

    Args:
        capture: to read.
        source: address to show.
        patience_s: its read timeout.
    """

    def receive() -> Pixels:
        began = time.monotonic()
        came, image = capture.read()
        gave_up = time.monotonic() - began >= 0.9 * patience_s  # then a picture is what its decoder still held
        if came and not gave_up:
            return np.ascontiguousarray(image, np.uint8)  # OpenCV makes a new array for each
        if gave_up:
            cause = "check that the camera is on and sends"
            raise CameraTimeoutError(f"{source}: no frame came within {patience_s:g} s; {cause}")
        raise CameraLostError(f"{source}: ended or is gone; open it again")

    return receive
