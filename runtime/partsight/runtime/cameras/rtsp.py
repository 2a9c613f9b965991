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
"""For FFmpeg: TCP, since the decoder hides packets that UDP loses; 0.1 s to analyse the stream, not 5 s.

With so short an analysis, motion JPEG over HTTP came at a third of its rate.
"""

_FORMATS = ("mpjpeg", "mjpeg", "h264", "hevc", "mpegts", "mpeg", "flv", "matroska", "mov", "avi", "asf", "ogg")
"""Streams and containers that hold their pictures themselves; playlists hold addresses of other hosts."""

_BOUNDS = {
    "rtsp": {},
    "http": {"max_redirects": "0", "format_whitelist": ",".join(_FORMATS), "http_proxy": "none"},
}
"""Limits, so that an attacker in the camera's place cannot make the line ask other hosts with its password.

Without `http_proxy`, FFmpeg asks the proxy of the environment, but a camera is on the line's own network.

FFmpeg has no option against redirects of RTSP.
"""

_HINTS = {"rtsp": "", "http": "; redirects and playlists are not followed: name the stream's own address"}


def check_address(address: str, options: CameraOptions) -> None:
    """Refuse an address without a clear host, and every option: a stream is set up at its sender.

    Raises:
        CameraError: the host is not clear, or an option is set.
    """
    check_network_address(address)
    options.check_supported(without_credentials(address), frozenset())


def open_address(address: str, options: CameraOptions) -> LatestCamera:
    """Open a stream.

    partsight reads motion JPEG itself: FFmpeg reads only some of its forms, and does not name a wrong answer. FFmpeg
    reads all other streams, and motion JPEG as well if the user has set options of FFmpeg other than RTSP's.

    Raises:
        CameraError: partsight cannot open the stream, or an option is set.
    """
    check_address(address, options)
    if address.startswith("http:") and all(name.startswith("rtsp") for name in users_options()):
        camera = open_multipart(address, options.timeout_s)
        if camera is not None:
            return camera
    return _open_by_ffmpeg(address, options)


def _open_by_ffmpeg(address: str, options: CameraOptions) -> LatestCamera:
    """Pass `timeout_s` to FFmpeg: without it a server that hangs would block the reader (opencv/opencv#23207)."""
    source = without_credentials(address)
    timeout_ms = max(1, round(options.timeout_s * 1000))
    scheme = address.partition(":")[0]
    params = [
        cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, timeout_ms,
        cv2.CAP_PROP_READ_TIMEOUT_MSEC, timeout_ms,
        cv2.CAP_PROP_N_THREADS, 1,  # each further thread would delay by a frame
    ]  # fmt: skip
    capture = open_capture(address, params, options=_OPTIONS[scheme], bounds=_BOUNDS[scheme])
    if not capture.isOpened():
        raise CameraError(
            f"{source}: cannot be opened within {options.timeout_s:g} s; expected a stream there: check the host, the "
            "port, the path, user name and password, and that the camera is on (ffprobe ADDRESS says more)"
            f"{_HINTS[scheme]}"
        )
    return LatestCamera(source, receiver(capture, source, timeout_ms / 1000), capture.release, options.timeout_s)
