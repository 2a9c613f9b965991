"""Motion JPEG over HTTP: the camera's answer, and the pictures of its multipart stream."""

import contextlib
import re
import time
from collections.abc import Callable
from http.client import BadStatusLine, HTTPException, HTTPResponse
from urllib.parse import urlsplit

import cv2
import numpy as np

from partsight.runtime.cameras.address import without_credentials
from partsight.runtime.cameras.http_request import HttpAnswer, ask
from partsight.runtime.cameras.latest import LatestCamera
from partsight.runtime.core import CameraError, CameraLostError, CameraTimeoutError, PartialFrameError, Pixels
from partsight.runtime.images import MAX_PIXELS, has_too_many_scans, size_of

MAX_PART_BYTES = 64 * 2**20
"""Largest part of a stream; a picture of 80 megapixels takes less."""

_MAX_LINE_BYTES = 8192
_BLOCK_BYTES = 2**16
_BOUNDARY_LINE = re.compile(rb"--[\x20-\x7e]{0,200}")
_JPEG_START, _JPEG_SCAN, _JPEG_END = b"\xff\xd8", b"\xff\xda", b"\xff\xd9"

_WEB_PAGES = ("text/html", "application/xhtml+xml")
_TEXTS = ("application/json", "application/xml", "application/problem+json")
_SHOWN = 100  # characters of a text in an error
_ON = "check the host, the port, and that the camera is on"
_REMEDIES = {
    403: "the camera refuses this user or this machine: allow it in the camera's settings",
    404: "the camera has no such path: look up the path of its MJPEG stream",
    503: "the camera is busy: close its other viewers, or raise its limit of streams",
}


def open_multipart(address: str, timeout_s: float) -> LatestCamera | None:
    """Ask for a stream, and return a camera of it; None for a stream of another kind, which FFmpeg may read.

    This asks only the address's own host: it follows no redirect and uses no proxy of the environment. It sends user
    name and password when the host asks for them (Basic, or Digest with MD5 or SHA-256).

    Args:
        address: Address `http://USER:PASSWORD@HOST:PORT/PATH`, checked.
        timeout_s: Longest wait for the answer, then for each picture, in seconds.

    Raises:
        CameraError: the host is out of reach, refuses, or sends a web page or a still picture.
    """
    source = without_credentials(address)
    try:
        answer = ask(urlsplit(address), time.monotonic() + timeout_s)
    except TimeoutError as error:
        raise CameraError(f"{source}: cannot be opened: no answer within {timeout_s:g} s; {_ON}") from error
    except (ConnectionResetError, ConnectionAbortedError, BrokenPipeError) as error:  # one cause, whoever noticed first
        raise CameraError(f"{source}: cannot be opened: it closed the connection without an answer; {_ON}") from error
    except BadStatusLine:
        return None
    except (OSError, HTTPException, ValueError) as error:
        raise CameraError(f"{source}: cannot be opened: {str(error)[:200] or type(error).__name__}; {_ON}") from error
    with contextlib.ExitStack() as undo:
        undo.callback(answer.close)
        stream = _find_stream(answer.response, source, has_user="@" in urlsplit(address).netloc)
        if stream is None:
            return None
        undo.pop_all()
    receive = _receiver(answer, stream, source, timeout_s)
    return LatestCamera(source, receive, answer.close, timeout_s, answer.interrupt)


def _find_stream(response: HTTPResponse, source: str, *, has_user: bool) -> "Multipart | Joined | None":
    """Return a reader of the pictures of an answer; None for a stream of another kind.

    If the header names no multipart stream, the first bytes decide: some cameras name another type.

    Raises:
        CameraError: the host refused, or its answer is no stream.
    """
    status, headers = response.status, response.headers
    if status != 200:
        raise CameraError(f"{source}: cannot be opened: it answered HTTP {status}{_reason(response, has_user)}")
    kind = headers.get_content_type() if "Content-Type" in headers else ""
    start = b"" if kind.startswith("multipart/") else _first_bytes(response)
    if headers.get("Content-Encoding", "identity").lower() != "identity":
        return None
    if kind.startswith("multipart/") or start.startswith(b"--"):
        return Multipart(response.read1, (headers.get_boundary("") or "").encode("latin-1", "replace"))
    if found := _no_stream(kind, start):
        raise CameraError(
            f"{source}: cannot be opened: it answered HTTP 200 with {found}; expected a stream: use the address of the "
            "camera's MJPEG stream, which its manual names, or folder:PATH for saved pictures"
        )
    return Joined(response.read1) if start.startswith(_JPEG_START) else None


def _no_stream(kind: str, start: bytes) -> str:
    """Return the kind of an answer in words; empty if it may be a stream."""
    if kind.startswith("image/"):
        return f"one still picture ({kind})"
    if kind in _WEB_PAGES:
        return f"a web page ({kind}), perhaps its login"
    if (kind.startswith("text/") or kind in _TEXTS) and not start.startswith(_JPEG_START):
        return f"a text ({kind}): {start[:_SHOWN].decode('latin-1').strip()!r}"
    return ""


def _first_bytes(response: HTTPResponse) -> bytes:
    with contextlib.suppress(OSError, HTTPException, ValueError):
        return response.peek(_BLOCK_BYTES).lstrip(b"\r\n")
    return b""


def _reason(response: HTTPResponse, has_user: bool) -> str:
    """Return the cause of a status and its remedy, for the error."""
    if response.status == 401:
        if has_user:
            return ": the camera does not take this user name and password; correct them in the address"
        return ": the camera wants a user name and password: write them in the address, http://USER:PASSWORD@HOST/PATH"
    if 300 <= response.status < 400:
        target = without_credentials(response.headers.get("Location", "")[:200])
        return f", a redirect to {target!r}; redirects and playlists are not followed: name the stream's own address"
    phrase = f" ({response.reason[:80]!r})" if response.reason else ""
    return f"{phrase}: {_REMEDIES.get(response.status, 'check the path, and the state of the camera')}"


def _receiver(answer: HttpAnswer, stream: "Multipart | Joined", source: str, timeout_s: float) -> Callable[[], Pixels]:
    """Return a function that waits for the next picture of a stream."""
    before = 0  # bytes that had come at the last picture

    def receive() -> Pixels:
        nonlocal before
        answer.wire.deadline = time.monotonic() + timeout_s
        try:
            data = stream.next_picture()
        except TimeoutError as error:
            count = stream.received - before
            cause = f"though {count:,} bytes did; expected JPEGs" if count else "check that the camera is on and sends"
            raise CameraTimeoutError(f"{source}: no frame came within {timeout_s:g} s; {cause}") from error
        except EOFError as error:
            raise CameraLostError(f"{source}: is gone: {error}; open it again") from error
        except (OSError, HTTPException, ValueError) as error:
            raise CameraLostError(f"{source}: is gone: {error or type(error).__name__}; open it again") from error
        before = stream.received
        return decode(data, source)

    return receive


class Multipart:
    """Takes a multipart stream apart, as cameras send it.

    Boundary lines may end in LF, differ from the header's in leading dashes, or be missing before the first part. A
    part may lack Content-Length, Content-Type and the empty line after it; its length and its type may be wrong. This
    class skips a part that is no picture. After an error of `read` all earlier bytes are still there, so that the next
    call goes on.
    """

    def __init__(self, read: Callable[[int], bytes], boundary: bytes) -> None:
        """Take a stream.

        Args:
            read: Function that returns at least one byte and at most the given number; none at the stream's end.
            boundary: Boundary from the stream's header; empty if it names none.
        """
        self._read = read
        self._boundary = boundary.strip().lstrip(b"-")
        self.received = 0  # bytes
        self._buffer = bytearray()
        self._head: dict[bytes, bytes] = {}
        self._after_boundary = self._in_body = False

    def next_picture(self) -> bytes:
        """Return the bytes of the next picture.

        Raises:
            EOFError: the stream ended, between or within parts, or a part is larger than `MAX_PART_BYTES`.
        """
        while True:
            while not self._in_body:
                self._take_line()
            data = self._take_body().lstrip(b"\r\n")
            kind = self._head.get(b"content-type", b"").partition(b";")[0].strip().lower()
            self._head, self._in_body = {}, False
            if data.startswith(_JPEG_START) or (kind.startswith(b"image/") and data):
                return data

    def _take_line(self) -> None:
        """Take one line between two parts; the empty line after a boundary or a header begins a part."""
        while (end := self._buffer.find(b"\n")) < 0:
            if len(self._buffer) > _MAX_LINE_BYTES:  # the rest of a part that was longer than its header said
                del self._buffer[:-1]
            self._fill(_BLOCK_BYTES)
        line = bytes(self._buffer[:end]).strip()
        del self._buffer[: end + 1]
        name, colon, value = line.partition(b":")
        if _BOUNDARY_LINE.fullmatch(line):
            self._pass_boundary(line.lstrip(b"-"))
        elif not line:
            self._in_body = self._after_boundary or bool(self._head)
            self._after_boundary = False
        elif colon and name.lower() in (b"content-type", b"content-length"):
            self._head[name.lower()] = value.strip()

    def _pass_boundary(self, name: bytes) -> None:
        if self._boundary and name == self._boundary + b"--":
            raise EOFError("the camera ended the stream")
        self._boundary = name or self._boundary
        self._head, self._after_boundary = {}, True

    def _take_body(self) -> bytes:
        text = self._head.get(b"content-length", b"")
        size = int(text) if text.isdigit() and len(text) < 20 else 0
        if size > MAX_PART_BYTES:
            raise EOFError(f"it announced a part of {size:,} bytes; expected at most {MAX_PART_BYTES:,}")
        if size == 0:
            return self._take_until_boundary()
        while len(self._buffer) < size:
            self._fill(max(_BLOCK_BYTES, size - len(self._buffer)))
        data = bytes(self._buffer[:size])
        if self._boundary and (b"--" + self._boundary in data or _ends_early(data)):
            return self._take_until_boundary()  # the length is wrong
        del self._buffer[:size]
        return data

    def _take_until_boundary(self) -> bytes:
        mark, start = b"--" + self._boundary if self._boundary else b"\n--", 0
        while (end := self._buffer.find(mark, start)) < 0:
            start = max(0, len(self._buffer) - len(mark))
            self._fill(_BLOCK_BYTES)
        data = bytes(self._buffer[:end]).removesuffix(b"\n").removesuffix(b"\r")
        del self._buffer[:end]
        return data

    def _fill(self, count: int) -> None:
        if len(self._buffer) > MAX_PART_BYTES:
            raise EOFError(f"it sent a part of more than {MAX_PART_BYTES:,} bytes")
        came = self._read(count)
        if not came:
            within = "within a frame" if self._in_body else "after a frame"
            raise EOFError(f"the camera closed the connection {within}")
        self.received += len(came)
        self._buffer += came


class Joined:
    """Takes a stream apart in which one JPEG follows the other, with nothing between them."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        """Take a stream, as `Multipart` does."""
        self._read = read
        self.received = 0  # bytes
        self._buffer = bytearray()

    def next_picture(self) -> bytes:
        """Return the bytes of the next picture, as soon as the picture after it begins.

        Raises:
            EOFError: the stream ended, or a picture is larger than `MAX_PART_BYTES`.
        """
        start = 0
        while (end := self._buffer.find(_JPEG_END + _JPEG_START, start)) < 0:
            start = max(0, len(self._buffer) - 3)
            if start > MAX_PART_BYTES:
                raise EOFError(f"it sent a picture of more than {MAX_PART_BYTES:,} bytes")
            came = self._read(_BLOCK_BYTES)
            if not came:
                raise EOFError("the camera closed the connection")
            self.received += len(came)
            self._buffer += came
        data = bytes(self._buffer[: end + len(_JPEG_END)])
        del self._buffer[: end + len(_JPEG_END)]
        return data


def decode(data: bytes, source: str) -> Pixels:
    """Decode a JPEG of a stream, turned as its EXIF header says.

    Returns:
        Picture, (height, width, 3) uint8 BGR; also of a grey JPEG, as FFmpeg delivers it.

    Raises:
        PartialFrameError: the data is no JPEG, lacks its end, is damaged, or has more than 80 megapixels.
    """
    height, width = size_of(data) or (0, 0)
    image, cause = None, "is damaged"
    if not data.startswith(_JPEG_START):
        cause = f"is no JPEG, it begins with {data[:4]!r}"
    elif _ends_early(data):
        cause = "came incomplete: the end of its JPEG is missing"
    elif height * width > MAX_PIXELS or has_too_many_scans(data):
        cause = "is too large to decode"
    else:
        with contextlib.suppress(cv2.error):
            image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise PartialFrameError(f"{source}: a frame of {len(data):,} bytes {cause}; expected a whole JPEG")
    return np.ascontiguousarray(image, np.uint8)


def _ends_early(data: bytes) -> bool:
    """Return whether the data is a JPEG whose end is missing."""
    return data.lstrip(b"\r\n").startswith(_JPEG_START) and data.rfind(_JPEG_END) <= data.rfind(_JPEG_SCAN)
