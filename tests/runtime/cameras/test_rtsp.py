import contextlib
import logging
import os
import re
import signal
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise

import cv2
import pytest

from partsight.runtime.cameras import Camera, CameraOptions, open_camera
from partsight.runtime.cameras.ffmpeg import VARIABLE
from partsight.runtime.core.errors import CameraError, CameraLostError, CameraTimeoutError
from tests.runtime.cameras.mjpeg_server import Handler
from tests.runtime.cameras.rigs import mjpeg_server, rtsp_server

SERVERS = [pytest.param("http", id="http"), pytest.param("rtsp", id="rtsp", marks=pytest.mark.debian)]
OPTIONS = CameraOptions(timeout_s=60)
HASTY = CameraOptions(timeout_s=2)  # for a stream that freezes
SECRETS = ("operator", "hunter2", "s3cret")


def serve(scheme: str, port: int = 0):  # type: ignore[no-untyped-def]
    return mjpeg_server(port) if scheme == "http" else rtsp_server(port)


def open_at(scheme: str, port: int, options: CameraOptions = OPTIONS) -> Camera:
    return open_camera(f"{scheme}://127.0.0.1:{port}/line", options)


def fail(camera: Camera, most: int = 200) -> CameraError:
    """Read until an error."""
    for _ in range(most):
        try:
            camera.read()
        except CameraError as error:
            return error
    raise AssertionError("no error came")


@pytest.mark.parametrize("scheme", SERVERS)
def test_a_slow_reader_gets_the_latest(scheme: str) -> None:
    with serve(scheme) as (_, port), open_at(scheme, port) as camera, open_at(scheme, port) as quick:
        sequences = []
        for _ in range(3):
            frame = camera.read()
            assert frame is not None
            sequences.append(frame.sequence)
            for _ in range(7):  # about as many come to the slow reader meanwhile
                assert quick.read() is not None
    gaps = [later - sooner for sooner, later in pairwise(sequences)]
    assert min(gaps) >= 1, gaps
    assert sum(gaps) > len(gaps), gaps  # frames were skipped


@pytest.mark.parametrize("scheme", SERVERS)
def test_the_server_is_killed_and_comes_back(scheme: str) -> None:
    with serve(scheme) as (process, port):
        camera = open_at(scheme, port)
        assert camera.read() is not None
        process.kill()
        process.wait()
        assert isinstance(fail(camera), CameraLostError)
        with pytest.raises(CameraLostError):
            camera.read()  # and goes on saying so
        camera.close()
        with pytest.raises(CameraError, match=str(port)):
            open_at(scheme, port)
    with serve(scheme, port), open_at(scheme, port) as camera:
        assert camera.read() is not None


@pytest.mark.skipif(os.name == "nt", reason="Windows cannot stop a process for a while")
@pytest.mark.parametrize("scheme", SERVERS)
def test_the_stream_freezes(scheme: str) -> None:
    with serve(scheme) as (process, port), open_at(scheme, port, HASTY) as camera:
        assert camera.read() is not None
        process.send_signal(signal.SIGSTOP)
        assert isinstance(fail(camera), CameraTimeoutError)
        error = fail(camera, 1)  # FFmpeg gives a stream up after its timeout, or goes on with it
        assert isinstance(error, CameraTimeoutError | CameraLostError)
        process.send_signal(signal.SIGCONT)
        if not isinstance(error, CameraLostError):
            with contextlib.suppress(CameraLostError):
                assert camera.read() is not None
        with open_at(scheme, port) as again:
            assert again.read() is not None


@pytest.mark.skipif(os.name == "nt", reason="Windows cannot stop a process for a while")
def test_closing_a_frozen_stream() -> None:
    with mjpeg_server() as (process, port):
        camera = open_camera(f"http://127.0.0.1:{port}/line", CameraOptions(timeout_s=1000))
        assert camera.read() is not None
        process.send_signal(signal.SIGSTOP)
        readers = [thread for thread in threading.enumerate() if thread.name == f"partsight-{camera.source}"]  # type: ignore[attr-defined]
        camera.close()
        for reader in readers:
            reader.join(60)
        assert [reader.is_alive() for reader in readers] == [False]


def test_nothing_shows_a_password(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    caplog.set_level(logging.DEBUG)
    with mjpeg_server() as (process, port):
        place = f"127.0.0.1:{port}/line?channel=1&password=s3cret"
        with open_camera(f"http://operator:hunter2@{place}", OPTIONS) as camera:
            frame = camera.read()
            assert frame is not None
            assert frame.source == f"http://127.0.0.1:{port}/line?channel=1&password=***"
            process.kill()
            shown = str(fail(camera))
    for address in (
        f"http://operator:hunter2@{place}",
        "rtsp://operator:hunter2/s3cret@127.0.0.1:9/line",
        "rtsp://operator:hunter2@s3cret@127.0.0.1:x/line",
        "rtmp://operator:hunter2@127.0.0.1/s",
        "rtsp//operator:hunter2@127.0.0.1/s",
        "rtsp://127.0.0.1:9/user=operator_password=hunter2_channel=1.sdp?token=s3cret",
    ):
        with pytest.raises(CameraError) as error:
            open_camera(address, OPTIONS)
        shown += str(error.value)
    with pytest.raises(CameraError, match="gain_db") as error:
        open_camera("rtsp://operator:hunter2@127.0.0.1/line", CameraOptions(gain_db=1))
    shown += str(error.value) + caplog.text + "".join(capfd.readouterr())
    assert not [secret for secret in SECRETS if secret in shown], shown


@pytest.mark.parametrize(
    "address",
    [
        "rtsp://a:b/c@host/line",
        "rtsp://:9/line",
        "http://host:x/",
        "rtsp://host/a@b",
        "http://a..b/",
        "http://host/a b",
        "http://host/\r\nHost: another",
        "rtsp://host/\udcff",
    ],
)
def test_an_address_without_a_clear_host(address: str) -> None:
    with pytest.raises(CameraError, match=r"(rtsp|http)://USER:PASSWORD@HOST:PORT/PATH.*%40"):
        open_camera(address)


def test_the_environment_is_left_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    with mjpeg_server() as (_, port):
        monkeypatch.delenv(VARIABLE, raising=False)
        with open_at("http", port):
            assert VARIABLE not in os.environ
        monkeypatch.setenv(VARIABLE, "rtsp_transport;udp")
        with open_at("http", port):
            assert os.environ[VARIABLE] == "rtsp_transport;udp"


@contextlib.contextmanager
def http_server(handler: type[BaseHTTPRequestHandler]) -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


@contextlib.contextmanager
def answering(status: int, kind: str = "", body: str = "", location: str = "") -> Iterator[tuple[list[str], int]]:
    """Answer every request the same; give the paths that were asked for, and the port."""
    asked: list[str] = []

    class Same(Handler):
        def do_GET(self) -> None:  # noqa: N802 (the base class's name)
            asked.append(self.path)
            self.send_response(status)
            for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), "Location": location}.items():
                if value:
                    self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body.encode())

    with http_server(Same) as port:
        yield asked, port


def formats_of_ffmpeg() -> tuple[int, ...]:
    found = re.search(r"avformat: *YES \((\d+)\.(\d+)", cv2.getBuildInformation())
    return tuple(map(int, found.groups())) if found else ()


KNOWS_REDIRECTS = pytest.mark.skipif(formats_of_ffmpeg() < (62, 12), reason="needs OpenCV 4.14 or later")
HLS = "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nhttp://127.0.0.1:{port}/secret.ts\n#EXT-X-ENDLIST\n"


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param((302, "text/html", "", "http://127.0.0.1:{port}/secret"), id="redirect", marks=KNOWS_REDIRECTS),
        pytest.param((200, "application/vnd.apple.mpegurl", HLS, ""), id="playlist"),
    ],
)
def test_a_camera_cannot_make_the_line_ask_others(
    answer: tuple[int, str, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    status, kind, *texts = answer
    with (
        answering(404) as (others, port),
        answering(status, kind, *(text.format(port=port) for text in texts)) as (
            asked,
            own,
        ),
    ):
        for mine in ("", "rtsp_transport;udp", "user_agent;x"):  # by partsight, twice, and by FFmpeg
            monkeypatch.setenv(VARIABLE, mine)
            if not mine:
                monkeypatch.delenv(VARIABLE)
            with pytest.raises(CameraError, match=re.escape(f"http://127.0.0.1:{own}/line")):
                open_at("http", own)
            assert (asked.pop(), others) == ("/line", [])
        monkeypatch.setenv(VARIABLE, "max_redirects;1|format_whitelist;hls,mpegts")  # the user may override the options
        with pytest.raises(CameraError, match=str(own)):
            open_at("http", own)
        assert others


class AskingForAPassword(Handler):
    def do_GET(self) -> None:  # noqa: N802 (the base class's name)
        if self.headers["Authorization"] == "Basic b3BlcmF0b3I6aHVudGVyMg==":
            with contextlib.suppress(OSError):  # the reader hung up
                super().do_GET()
        else:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="camera"')
            self.send_header("Content-Length", "0")
            self.end_headers()


def test_a_camera_that_asks_for_the_password_gets_it() -> None:
    """By a second request, which is no redirect."""
    with (
        http_server(AskingForAPassword) as port,
        open_camera(f"http://operator:hunter2@127.0.0.1:{port}/", OPTIONS) as camera,
    ):
        assert camera.read() is not None
