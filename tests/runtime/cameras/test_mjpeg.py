"""Motion JPEG as cameras send it, and what else an address may answer with."""

import base64
import contextlib
import hashlib
import io
import re
import socket
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from urllib.request import parse_http_list, parse_keqv_list

import cv2
import numpy as np
import pytest
from PIL import Image

from partsight.runtime.cameras import CameraOptions, open_camera
from partsight.runtime.cameras import mjpeg as mjpeg_module
from partsight.runtime.cameras.ffmpeg import VARIABLE
from partsight.runtime.cameras.mjpeg import Joined, Multipart, decode
from partsight.runtime.core.errors import CameraError, CameraLostError, CameraTimeoutError, PartialFrameError

PATIENT, HASTY = CameraOptions(timeout_s=10), CameraOptions(timeout_s=0.2)
Answer = Callable[[socket.socket, bytes], None]


def jpeg(shade: int, *options: int) -> bytes:
    return cv2.imencode(".jpg", np.full((48, 64, 3), shade, np.uint8), options)[1].tobytes()


ONE, TWO = jpeg(10), jpeg(200)
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame\r\n\r\n"


def part(data: bytes, kind: str = "image/jpeg", *, with_length: bool = True) -> bytes:
    length = f"Content-Length: {len(data)}\r\n" if with_length else ""
    return f"--frame\r\nContent-Type: {kind}\r\n{length}\r\n".encode() + data + b"\r\n"


# --- the multipart form --------------------------------------------------------------------------

_LF = part(ONE).replace(b"\r\n", b"\n", 4), part(TWO).replace(b"\r\n", b"\n", 4)
_BARE = part(ONE, with_length=False), part(TWO, with_length=False)
FORMS = {
    "plain": (b"frame", part(ONE) + part(TWO)),
    "boundary in the header with dashes": (b"--frame", part(ONE) + part(TWO)),
    "no boundary in the header": (b"", part(ONE) + part(TWO)),
    "another boundary in the header": (b"other", part(ONE) + part(TWO)),
    "no boundary before the first part": (b"frame", part(ONE)[len(b"--frame\r\n") :] + part(TWO)),
    "neither": (b"", _BARE[0][len(b"--frame\r\n") :] + part(TWO)),
    "line feeds": (b"frame", b"".join(_LF)),
    "no length": (b"frame", _BARE[0] + _BARE[1] + b"--frame--\r\n"),
    "no length, no line between": (b"frame", _BARE[0][:-2] + _BARE[1][:-2] + b"--frame"),
    "no line between": (b"frame", part(ONE)[:-2] + part(TWO)[:-2]),
    "no header in parts": (b"frame", b"--frame\r\n\r\n" + ONE + b"\r\n--frame\r\n\r\n" + TWO + b"\r\n--frame"),
    "image/jpg": (b"frame", part(ONE, "image/jpg") + part(TWO, "Image/JPG; x=y")),
    "upper case": (b"frame", part(ONE).replace(b"nt-L", b"NT-L") + part(TWO).replace(b"Content-T", b"content-t")),
    "length 0": (b"frame", re.sub(rb"Length: \d+", b"Length: 0", part(ONE) + part(TWO)) + b"--frame"),
    "further headers": (b"frame", b"\r\n".join((part(ONE), part(TWO).replace(b"\r\n", b"\r\nX-Time: 1:2\r\n", 1)))),
    "preamble": (b"frame", b"This is a message: of several parts\r\n\r\n\r\n" + part(ONE) + part(TWO)),
    "a length that is too short": (b"frame", part(ONE) + part(TWO).replace(TWO, TWO + b"ab\ncd")),
    "a length that is much too short": (b"frame", b"".join(
        part(data).replace(b"%d" % len(data), b"%d" % (len(data) // 2)) for data in (ONE, TWO)) + b"--frame"),
    "a length that is too long": (b"frame", b"".join(
        part(data).replace(b"%d" % len(data), b"%d" % (len(data) + 60)) for data in (ONE, TWO, ONE))),
    "an empty line too many": (b"frame", b"".join(
        part(data).replace(data, b"\r\n" + data) for data in (ONE, TWO)) + b"--frame"),
    "another type": (b"frame", part(ONE, "application/octet-stream") + part(TWO, "video/x-motion-jpeg")),
    "empty parts": (b"frame", part(b"") + part(ONE) + part(b"") + part(TWO)),
    "sound": (b"frame", part(ONE) + part(bytes(100), "audio/basic") + part(TWO)),
    "texts": (b"frame", part(ONE) + part(b"{}\n--x", "application/json") + part(TWO)),
    "a part without type that is no picture": (b"frame", b"--frame\r\n\r\nhello\r\n" + part(ONE) + part(TWO)),
    "with an epilogue": (b"frame", part(ONE) + part(TWO) + b"--frame--\r\n" + part(ONE)),
}  # fmt: skip


def reader(data: bytes, size: int) -> Callable[[int], bytes]:
    """Give the data in pieces of a size."""
    source = io.BytesIO(data)
    return lambda count: source.read(min(count, size))


@pytest.mark.parametrize("size", [1, 7, 2**16])
@pytest.mark.parametrize(("boundary", "data"), FORMS.values(), ids=FORMS)
def test_each_form_gives_its_pictures_and_no_others(boundary: bytes, data: bytes, size: int) -> None:
    stream = Multipart(reader(data, size), boundary)
    assert [stream.next_picture() for _ in range(2)] == [ONE, TWO]
    with pytest.raises(EOFError):
        stream.next_picture()


def test_a_timeout_loses_nothing() -> None:
    """Wherever it comes."""
    data, given = part(ONE) + part(TWO, with_length=False) + b"--frame", iter(range(10**6))
    source = io.BytesIO(data)

    def read(count: int) -> bytes:
        if next(given) % 2:
            raise TimeoutError
        return source.read(min(count, 11))

    stream, found = Multipart(read, b"frame"), []
    while len(found) < 2:
        with contextlib.suppress(TimeoutError):
            found.append(stream.next_picture())
    assert found == [ONE, TWO]


@pytest.mark.parametrize("length", [b"Content-Length: 99999999999\r\n", b""])
def test_memory_is_bounded(length: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mjpeg_module, "MAX_PART_BYTES", 10**6)
    taken = 0

    def read(count: int) -> bytes:
        nonlocal taken
        taken += count
        return (b"--frame\r\nContent-Type: image/jpeg\r\n" + length + b"\r\n") if taken == count else bytes(count)

    with pytest.raises(EOFError, match="1,000,000"):
        Multipart(read, b"frame").next_picture()
    assert taken < 2 * 10**6


def test_joined_pictures() -> None:
    stream = Joined(reader(ONE + TWO + ONE, 7))
    assert [stream.next_picture() for _ in range(2)] == [ONE, TWO]
    with pytest.raises(EOFError):
        stream.next_picture()


def test_a_line_without_end_is_not_kept() -> None:
    pieces = iter([bytes(65536)] * 1000 + [b"\n" + part(ONE)])
    stream = Multipart(lambda _: next(pieces), b"frame")
    tracemalloc.start()
    try:
        assert stream.next_picture() == ONE
        assert tracemalloc.get_traced_memory()[1] < 10**6
    finally:
        tracemalloc.stop()


# --- the picture ---------------------------------------------------------------------------------


def turned() -> bytes:
    """A picture 64 wide and 48 high that is to be shown turned by 90 degrees."""
    exif, file = Image.Exif(), io.BytesIO()
    exif[0x112] = 6
    Image.new("RGB", (64, 48), "red").save(file, "JPEG", exif=exif)
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "shape"),
    [
        (ONE, (48, 64, 3)),
        (cv2.imencode(".jpg", np.full((48, 64), 9, np.uint8))[1].tobytes(), (48, 64, 3)),
        (turned(), (64, 48, 3)),
        (ONE + bytes(30), (48, 64, 3)),  # filled up
    ],
)
def test_a_picture_is_as_viewers_show_it(data: bytes, shape: tuple[int, int, int]) -> None:
    assert decode(data, "camera").shape == shape


_HUGE = re.sub(rb"(\xff\xc0..\x08)....", b"\\1" + b"\xff" * 4, ONE, flags=re.DOTALL)

_SCANS = ONE[:-2] + b"\xff\xda" * 101 + b"\xff\xd9"


@pytest.mark.parametrize(
    "data",
    [b"", b"hello", ONE[: len(ONE) // 2], ONE[:-2], ONE[:20] + ONE[-2:], b"\x89PNG" + ONE, _HUGE, _SCANS],
    ids=["empty", "text", "half", "no end", "no middle", "png", "4 gigapixels", "scans"],
)  # fmt: skip
def test_a_damaged_picture_is_no_frame(data: bytes) -> None:
    with pytest.raises(PartialFrameError, match=f"{len(data):,} bytes"):
        decode(data, "camera")


# --- the answer ----------------------------------------------------------------------------------


@contextlib.contextmanager
def serving(*answers: Answer, host: str = "127.0.0.1") -> Iterator[tuple[list[bytes], str]]:
    """Answer connections in turn, the last answer for all others; give the requests, and the address."""
    requests: list[bytes] = []

    def serve() -> None:
        for number in range(10**6):
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                request = b""
                while b"\r\n\r\n" not in request and (came := connection.recv(65536)):
                    request += came
                requests.append(request)
                answers[min(number, len(answers) - 1)](connection, request)

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as server:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        port = server.getsockname()[1]
        try:
            yield requests, f"http://{f'[{host}]' if ':' in host else host}:{port}/live"
        finally:
            with contextlib.suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)  # ends `accept` on Linux; closing does elsewhere
            server.close()
            thread.join(5)


def saying(*pieces: bytes, waits: bool = False) -> Answer:
    """Say something and hang up, or wait until the other side has."""

    def answer(connection: socket.socket, _: bytes) -> None:
        for piece in pieces:
            connection.sendall(piece)
        while waits and connection.recv(65536):
            pass

    return answer


def status(code: str, *headers: str, body: str = "") -> bytes:
    return "\r\n".join((f"HTTP/1.1 {code}", *headers, f"Content-Length: {len(body)}", "", body)).encode()


GOOD = {
    "HTTP/1.0": STREAM.replace(b"1.1", b"1.0") + part(ONE),
    "chunked": STREAM[:-2] + b"Transfer-Encoding: chunked\r\n\r\n" + b"".join(
        b"%x\r\n" % len(piece) + piece + b"\r\n" for piece in (part(ONE)[:50], part(ONE)[50:])
    ),
    "upper case": STREAM.replace(b"multipart/x-mixed-replace; b", b"Multipart/X-Mixed-Replace;B") + part(ONE),
    "quoted": STREAM.replace(b"=frame", b'="frame"') + part(ONE),
    "no type": b"HTTP/1.1 200 OK\r\n\r\n" + part(ONE, "image/jpg"),
    "type of a picture": STREAM.replace(b"multipart/x-mixed-replace; boundary=frame", b"image/jpeg") + part(ONE),
    "joined": b"HTTP/1.1 200 OK\r\nContent-Type: video/x-motion-jpeg\r\n\r\n" + ONE + TWO,
    "mixed": STREAM.replace(b"x-mixed-replace", b"mixed") + part(ONE),
}  # fmt: skip


@pytest.mark.parametrize("data", GOOD.values(), ids=GOOD)
def test_streams(data: bytes) -> None:
    with serving(saying(data, waits=True)) as (requests, address), open_camera(address, PATIENT) as camera:
        frame = camera.read()
        assert frame is not None
        assert (frame.image.shape, frame.source, frame.sequence) == ((48, 64, 3), address, 0)
        assert len(requests) == 1
        assert requests[0].startswith(b"GET /live HTTP/1.1\r\n")


def test_ipv6() -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    with (
        serving(saying(STREAM + part(ONE), waits=True), host="::1") as (_, address),
        open_camera(address, PATIENT) as camera,
    ):
        assert camera.read() is not None


BAD = {
    "still picture": (status("200 OK", "Content-Type: image/jpeg"), "image/jpeg.*folder:PATH"),
    "login page": (status("200 OK", "Content-Type: text/html; charset=utf-8", body="<p>"), "text/html"),
    "text": (status("200 OK", "Content-Type: text/plain", body="Too many viewers"), "'Too many viewers'"),
    "JSON": (status("200 OK", "Content-Type: application/json", body='{"error": 7}'), "error.*7"),
    "no user name": (status("401 Unauthorized", 'WWW-Authenticate: Basic realm="x"'), "401.*USER:PASSWORD@"),
    "forbidden": (status("403 Forbidden"), "403"),
    "no such path": (status("404 Not Found"), "404"),
    "busy": (status("503 Service Unavailable"), "503"),
    "no content": (status("204 No Content"), "204"),
    "redirect": (status("302 Found", "Location: http://u:hunter2@other/x"), "302.*'http://other/x'"),
    "hangs up": (b"", ""),
    "header ends early": (STREAM[:30], ""),
    "status line is too long": (b"HTTP/1.1 200 " + b"x" * 10**6, ""),
    "too many headers": (STREAM[:-2] + b"X: y\r\n" * 1000 + b"\r\n", "100"),
    "no HTTP": (b"220 mail.example.com\r\n\r\n", ""),
    "zipped": (STREAM[:-2] + b"Content-Encoding: gzip\r\n\r\nxx", ""),
}  # fmt: skip


@pytest.mark.parametrize(("data", "datum"), BAD.values(), ids=BAD)
def test_an_answer_without_a_stream_is_named(data: bytes, datum: str) -> None:
    with serving(saying(data)) as (_, address), pytest.raises(CameraError, match=datum or None) as error:
        open_camera(address, CameraOptions(timeout_s=2))
    assert address in str(error.value)
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize("start", [b"HTTP/1.1 200 OK\r\n", STREAM[:-2] + b"X-Wait: "])
def test_a_header_that_comes_byte_by_byte(start: bytes) -> None:
    """Each byte in time, the whole never."""

    def answer(connection: socket.socket, _: bytes) -> None:
        connection.sendall(start)
        connection.settimeout(0.01)
        while True:
            with contextlib.suppress(TimeoutError):
                if not connection.recv(1):
                    return
            connection.sendall(b"x")

    with serving(answer) as (_, address), pytest.raises(CameraError, match=r"0\.2 s"):
        open_camera(address, HASTY)


def test_a_stream_that_stops_is_a_timeout_and_goes_on() -> None:
    go = threading.Event()

    def answer(connection: socket.socket, _: bytes) -> None:
        connection.sendall(STREAM + part(ONE) + part(TWO)[:100])
        go.wait()
        connection.sendall(part(TWO)[100:])
        connection.recv(1)

    with serving(answer) as (_, address), open_camera(address, CameraOptions(timeout_s=1)) as camera:
        first = camera.read()
        with pytest.raises(CameraTimeoutError, match="1 s"):
            camera.read()
        go.set()
        second = None
        while second is None:
            with contextlib.suppress(CameraTimeoutError):
                second = camera.read()
    assert first is not None
    assert abs(int(second.image.mean()) - 200) < 3
    assert second.sequence == 1


def test_bytes_that_are_no_picture_are_named() -> None:
    with serving(saying(STREAM + ONE + TWO, waits=True)) as (_, address), open_camera(address, HASTY) as camera:
        messages = []
        for _ in range(3):  # the reader's clock may be the first to end, which knows of no bytes
            with pytest.raises(CameraTimeoutError) as error:
                camera.read()
            messages.append(str(error.value))
    assert f"{len(ONE + TWO):,} bytes" in messages[-1]


ENDS = {
    "in order": b"--frame--\r\n",
    "after a frame": b"",
    "within a frame": part(ONE)[:90],
    "a part of 99 GB": part(ONE).replace(b"Length: ", b"Length: 99999999"),
}


@pytest.mark.parametrize("data", ENDS.values(), ids=ENDS)
def test_the_end_of_a_stream_is_a_loss(data: bytes) -> None:
    with serving(saying(STREAM + part(ONE) + data)) as (_, address), open_camera(address, PATIENT) as camera:
        for _ in range(2):
            with pytest.raises(CameraLostError, match=re.escape(address)):
                while True:
                    camera.read()


def test_chunks_that_end_early() -> None:
    chunked = STREAM[:-2] + b"Transfer-Encoding: chunked\r\n\r\nffff\r\n" + part(ONE)
    with (
        serving(saying(chunked)) as (_, address),
        open_camera(address, PATIENT) as camera,
        pytest.raises(CameraLostError, match=re.escape(address)),
    ):
        while True:
            camera.read()


def test_damaged_frames_are_errors_and_gaps() -> None:
    parts = part(ONE[:-100]) + part(b"hello")
    with (
        serving(saying(STREAM + parts, part(TWO), waits=True)) as (_, address),
        open_camera(address, PATIENT) as camera,
    ):
        frame = None
        for _ in range(3):
            with contextlib.suppress(PartialFrameError):
                frame = frame or camera.read()
    assert frame is not None
    assert frame.sequence == 2
    with (
        serving(saying(STREAM + parts, waits=True)) as (_, address),
        open_camera(address, PATIENT) as camera,
        pytest.raises(PartialFrameError, match=re.escape(address)),
    ):
        camera.read()


def test_closing_ends_a_read_and_the_connection() -> None:
    hung_up = threading.Event()

    def answer(connection: socket.socket, _: bytes) -> None:
        connection.sendall(STREAM)
        while connection.recv(65536):
            pass
        hung_up.set()

    with serving(answer) as (_, address):
        camera = open_camera(address, CameraOptions(timeout_s=1000))
        threading.Timer(0.05, camera.close).start()
        with pytest.raises(CameraLostError):
            camera.read()
        assert hung_up.wait(60)


# --- user name and password ----------------------------------------------------------------------

ASKING = 'WWW-Authenticate: Digest realm="cam \\"1\\"", nonce="abc=", qop="auth,auth-int", opaque="o"'


def _h(name: str, *parts: str) -> str:
    return hashlib.new(name, ":".join(parts).encode()).hexdigest()


def is_right(given: dict[str, str], name: str) -> bool:
    """Check a Digest answer of RFC 7616."""
    secret = _h(name, 'ope"rator', 'cam "1"', "p:ä@ss/w")
    if given.get("algorithm", "").endswith("-sess"):
        secret = _h(name, secret, "abc=", given["cnonce"])
    counted = ("abc=", given["nc"], given["cnonce"], "auth") if "qop" in given else ("abc=",)
    return given["response"] == _h(name, secret, *counted, _h(name, "GET", "/live")) and given["uri"] == "/live"


@pytest.mark.parametrize(
    ("challenges", "name"),
    [
        ([ASKING], "md5"),
        ([ASKING.replace(', qop="auth,auth-int"', "")], "md5"),
        ([f"{ASKING}, algorithm=MD5-sess"], "md5"),
        ([f"{ASKING}, algorithm=SHA-256"], "sha256"),
        (['WWW-Authenticate: Basic realm="x"', ASKING], "md5"),
        ([f'WWW-Authenticate: Basic realm="x", {ASKING.partition(": ")[2]}'], "md5"),
    ],
)
def test_digest(challenges: list[str], name: str) -> None:
    with (
        serving(saying(status("401 No", *challenges)), saying(STREAM + part(ONE), waits=True)) as (requests, address),
        open_camera(address.replace("//", "//ope%22rator:p%3A%C3%A4%40ss%2Fw@"), PATIENT) as camera,
    ):
        assert camera.read() is not None
    assert b"Authorization" not in requests[0]
    header = re.search(rb"\r\nAuthorization: Digest (.*)\r\n", requests[1])
    assert header
    assert is_right(parse_keqv_list(parse_http_list(header[1].decode())), name)


@pytest.mark.parametrize(
    "more", [[], ['WWW-Authenticate: Digest realm="x", nonce="y", algorithm=NEW'], ["WWW-Authenticate: Negotiate"]]
)
def test_basic(more: list[str]) -> None:
    refusal = status("401 No", *more, 'WWW-Authenticate: Basic realm="x"')
    with (
        serving(saying(refusal), saying(STREAM + part(ONE), waits=True)) as (requests, address),
        open_camera(address.replace("//", "//operator:p%3A%C3%A4%40ss%2Fw@"), PATIENT) as camera,
    ):
        assert camera.read() is not None
    sent = base64.b64encode("operator:p:ä@ss/w".encode())
    assert b"\r\nAuthorization: Basic " + sent + b"\r\n" in requests[1]


def test_a_wrong_password_is_sent_once() -> None:
    with (
        serving(saying(status("401 No", ASKING))) as (requests, address),
        pytest.raises(CameraError, match="401") as error,
    ):
        open_camera(address.replace("//", "//operator:hunter2@"), PATIENT)
    assert len(requests) == 2
    assert "hunter2" not in str(error.value)


# --- who reads it, and through whom ---------------------------------------------------------------


def test_no_proxy_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither by partsight nor by FFmpeg, which gets the stream that it is asked for in the second request."""
    monkeypatch.delenv("no_proxy", raising=False)
    with serving(saying(status("404 No"))) as (of_proxy, proxy):
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.removesuffix("/live"))
        with serving(saying(STREAM + part(ONE), waits=True)) as (_, address), open_camera(address, PATIENT) as camera:
            assert camera.read() is not None
        flv = status("200 OK", "Content-Type: video/x-flv")
        with serving(saying(flv)) as (requests, address), pytest.raises(CameraError, match="2 s"):
            open_camera(address, CameraOptions(timeout_s=2))
        assert len(requests) >= 2
    assert of_proxy == []


@pytest.mark.parametrize(("mine", "agent"), [("rtsp_transport;udp", b"partsight"), ("user_agent;me", b"me")])
def test_whose_options_are_set_reads_by_ffmpeg(mine: str, agent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, mine)
    with serving(saying(status("404 No"))) as (requests, address), pytest.raises(CameraError):
        open_camera(address, PATIENT)
    assert b"User-Agent: " + agent in requests[0]
