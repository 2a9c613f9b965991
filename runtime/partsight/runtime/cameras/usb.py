"""A USB camera as the operating system knows it: `usb:N`, through OpenCV."""

import math
import sys
from contextlib import ExitStack
from pathlib import Path

import cv2

from partsight.runtime.cameras.camera import CameraOptions
from partsight.runtime.cameras.capture import receiver
from partsight.runtime.cameras.features import TOLERANCE
from partsight.runtime.cameras.latest import LatestCamera
from partsight.runtime.core import CameraError

DRIVER_PATIENCE_S = 10.0
"""Time that OpenCV waits in V4L2 for a picture (OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT can change it)."""

SUPPORTED = frozenset({"exposure_us", "fps", "region"})
"""Without the gain, which a UVC camera counts in steps of its own, not in decibels."""

_MAX_INDEX = 4  # digits

_BACKENDS = {"win32": (cv2.CAP_DSHOW, cv2.CAP_MSMF), "linux": (cv2.CAP_V4L2,)}


def check_address(place: str, options: CameraOptions) -> None:
    """Refuse a place that is no index, and options that no such camera can set.

    Raises:
        CameraError: the place is no index, or such an option is set.
    """
    source = f"usb:{place}"
    options.check_supported(source, SUPPORTED)
    if not (place.isascii() and place.isdecimal() and len(place) <= _MAX_INDEX):
        raise CameraError(f"{source}: expected a number, as in usb:0; found {_found()}")


def open_address(place: str, options: CameraOptions) -> LatestCamera:
    """Open a camera by its index.

    Raises:
        CameraError: there is no such camera, another program uses it, or it did not take an option.
    """
    check_address(place, options)
    source = f"usb:{place}"
    capture = _open(int(place))
    if capture is None:
        raise CameraError(
            f"{source}: cannot be opened; found {_found()}: check the cable, that no other program uses it, and on "
            "Linux that the user is in the group video"
        )
    with ExitStack() as undo:
        undo.callback(capture.release)
        _apply(capture, options, source)
        undo.pop_all()
    return LatestCamera(source, receiver(capture, source, DRIVER_PATIENCE_S), capture.release, options.timeout_s)


def _open(index: int) -> cv2.VideoCapture | None:
    for backend in _BACKENDS.get(sys.platform, (cv2.CAP_ANY,)):
        capture = cv2.VideoCapture(index, backend)
        if capture.isOpened():
            return capture
        capture.release()
    return None


def _found() -> str:
    """Return the names of the cameras that the system lists; Windows lists none to OpenCV."""
    nodes = sorted(path.name for path in Path("/dev").glob("video*")) if sys.platform == "linux" else []
    return ", ".join(f"usb:{name.removeprefix('video')}" for name in nodes) or "no camera"


def _apply(capture: cv2.VideoCapture, options: CameraOptions, source: str) -> None:
    """Set the options that are not None, and read each back."""
    if options.region is not None:
        x, y, width, height = options.region
        if x or y:
            raise CameraError(f"{source}: cannot move region to {x}, {y}; expected 0, 0, width, height")
        _set(capture, cv2.CAP_PROP_FRAME_WIDTH, width, "region", source)
        _set(capture, cv2.CAP_PROP_FRAME_HEIGHT, height, "region", source)
        _check(capture, cv2.CAP_PROP_FRAME_WIDTH, width, "region", source)  # a driver takes both or neither
    if options.fps is not None:
        _set(capture, cv2.CAP_PROP_FPS, options.fps, "fps", source)
    if options.exposure_us is not None:
        is_directshow = sys.platform == "win32"
        # Manual exposure: 1 in V4L2's menu, 0.25 for DirectShow.
        capture.set(cv2.CAP_PROP_AUTO_EXPOSURE, 0.25 if is_directshow else 1)
        seconds = options.exposure_us / 1e6
        value = math.log2(seconds) if is_directshow else seconds * 1e4  # V4L2 counts in 0.1 ms
        _set(capture, cv2.CAP_PROP_EXPOSURE, value, "exposure_us", source)


def _set(capture: cv2.VideoCapture, key: int, value: float, option: str, source: str) -> None:
    if not capture.set(key, value):
        raise CameraError(f"{source}: cannot set {option}: its driver refused {value:g}; leave out the option")
    if key != cv2.CAP_PROP_FRAME_WIDTH:
        _check(capture, key, value, option, source)


def _check(capture: cv2.VideoCapture, key: int, value: float, option: str, source: str) -> None:
    got = capture.get(key)
    if not math.isclose(got, value, rel_tol=TOLERANCE):
        raise CameraError(
            f"{source}: did not take {option}: its driver has {got:g} after {value:g} was set; set a value that the "
            "camera can take (on Linux: v4l2-ctl --list-formats-ext --list-ctrls)"
        )
