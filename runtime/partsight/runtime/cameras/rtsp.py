"""A network stream as a camera: `rtsp://HOST/PATH`, or `http://HOST/PATH` for motion JPEG and others."""

import cv2

from partsight.runtime.cameras.address import check_network_address, without_credentials
from partsight.runtime.cameras.camera import CameraOptions
from partsight.runtime.cameras.capture import receiver
from partsight.runtime.cameras.ffmpeg import open_capture, users_options
from partsight.runtime.cameras.latest import LatestCamera
from partsight.runtime.cameras.mjpeg import open_multipart
from partsight.runtime.core import CameraError

_OPTIONS = {
    "rtsp": {"rtsp_transport": "tcp", "fflags": "nobuffer", "analyzeduration": "100000", "probesize": "50000"},
    "http": {"fflags": "nobuffer"},
}
"""For FFmpeg: TCP, since UDP loses packets that the decoder paints over; 0.1 s of looking at the stream, not 5 s.

Motion JPEG over HTTP came at a third of its rate where FFmpeg may look at little of it.
"""

_FORMATS = ("mpjpeg", "mjpeg", "h264", "hevc", "mpegts", "mpeg", "flv", "matroska", "mov", "avi", "asf", "ogg")
"""Streams and containers that hold their pictures themselves, and no addresses of others as playlists do."""

_BOUNDS = {
    "rtsp": {},
    "http": {"max_redirects": "0", "format_whitelist": ",".join(_FORMATS), "http_proxy": "none"},
}
"""So that who answers in a camera's place cannot make the line ask other addresses, with its user and password.

Without `http_proxy`, FFmpeg asks the proxy of the environment, which leads elsewhere: a camera is on the line's net.

Nothing can tell FFmpeg not to follow redirects of RTSP.
"""

_HINTS = {"rtsp": "", "http": "; redirects and playlists are not followed: name the stream's own address"}


def check_stream(address: str, options: CameraOptions) -> None:
    """Refuse an address whose host cannot be told, and options: a stream is set up at its sender.

    Raises:
        CameraError: it is one, or an option is set.
    """
    check_network_address(address)
    options.check_supported(without_credentials(address), frozenset())


def open_stream(address: str, options: CameraOptions) -> LatestCamera:
    """Open a stream.

    partsight reads motion JPEG itself: FFmpeg reads some of its forms only, and does not say what an address answers
    with. FFmpeg reads everything else, and motion JPEG as well where the user has set options of it other than RTSP's.

    Raises:
        CameraError: the stream cannot be opened, or an option is set: a stream is set up at its sender.
    """
    check_stream(address, options)
    if address.startswith("http:") and all(name.startswith("rtsp") for name in users_options()):
        camera = open_multipart(address, options.timeout_s)
        if camera is not None:
            return camera
    return _open_by_ffmpeg(address, options)


def _open_by_ffmpeg(address: str, options: CameraOptions) -> LatestCamera:
    """Give `timeout_s` to FFmpeg, too: without it a server that hangs would hold the reader (opencv/opencv#23207)."""
    source = without_credentials(address)
    timeout_ms = max(1, round(options.timeout_s * 1000))
    scheme = address.partition(":")[0]
    params = [
        cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, timeout_ms,
        cv2.CAP_PROP_READ_TIMEOUT_MSEC, timeout_ms,
        cv2.CAP_PROP_N_THREADS, 1,  # each more would hold back one more frame
    ]  # fmt: skip
    capture = open_capture(address, params, options=_OPTIONS[scheme], bounds=_BOUNDS[scheme])
    if not capture.isOpened():
        raise CameraError(
            f"{source}: cannot be opened within {options.timeout_s:g} s; expected a stream there: check the host, the "
            "port, the path, user name and password, and that the camera is on (ffprobe ADDRESS says more)"
            f"{_HINTS[scheme]}"
        )
    return LatestCamera(source, receiver(capture, source, timeout_ms / 1000), capture.release, options.timeout_s)
