"""A network stream as a camera: `rtsp://HOST/PATH`, or motion JPEG from `http://HOST/PATH`; by OpenCV and FFmpeg."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import cv2

from partsight.runtime.cameras.address import check_network_address, without_credentials
from partsight.runtime.cameras.camera import CameraOptions
from partsight.runtime.cameras.capture import receiver
from partsight.runtime.cameras.latest import LatestCamera
from partsight.runtime.errors import CameraError

VARIABLE = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
LOW_DELAY = {
    "rtsp": "rtsp_transport;tcp|fflags;nobuffer|analyzeduration;100000|probesize;50000",
    "http": "fflags;nobuffer",
}
"""For FFmpeg: TCP, since UDP loses packets that the decoder paints over; 0.1 s of looking at the stream, not 5 s.

Motion JPEG over HTTP came at a third of its rate where FFmpeg may look at little of it.
"""

_variable_lock = threading.Lock()


def open_stream(address: str, options: CameraOptions) -> LatestCamera:
    """Open a stream.

    `timeout_s` is given to FFmpeg as well, for opening and for each read: without it a server that hangs would hold
    the reader for ever (opencv/opencv#23207).

    Raises:
        CameraError: the stream cannot be opened, or an option is set: a stream is set up at its sender.
    """
    source = without_credentials(address)
    check_network_address(address)
    options.check_supported(source, frozenset())
    timeout_ms = max(1, round(options.timeout_s * 1000))
    with _ffmpeg_options(LOW_DELAY[address.partition(":")[0]]):
        capture = cv2.VideoCapture(address, cv2.CAP_FFMPEG, [
            cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, timeout_ms,
            cv2.CAP_PROP_READ_TIMEOUT_MSEC, timeout_ms,
            cv2.CAP_PROP_N_THREADS, 1,  # each more would hold back one more frame
        ])  # fmt: skip
    if not capture.isOpened():
        raise CameraError(
            f"{source}: cannot be opened within {options.timeout_s:g} s; expected a stream there: check the host, the "
            "port, the path, user name and password, and that the camera is on (ffprobe ADDRESS says more)"
        )
    return LatestCamera(source, receiver(capture, source, timeout_ms / 1000), capture.release, options.timeout_s)


@contextmanager
def _ffmpeg_options(text: str) -> Iterator[None]:
    """Set the environment variable that OpenCV takes FFmpeg's options from, and take it back.

    It belongs to the whole process, hence the lock. One that the user has set is theirs, and stays.
    """
    with _variable_lock:
        if VARIABLE in os.environ:
            yield
            return
        os.environ[VARIABLE] = text
        try:
            yield
        finally:
            os.environ.pop(VARIABLE, None)
