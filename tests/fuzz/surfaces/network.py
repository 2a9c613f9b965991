"""Peers that answer nonsense: a broker, and senders of pictures."""

import contextlib
import random
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

from partsight.runtime.cameras import CameraOptions, open_camera
from partsight.runtime.sinks import open_sink
from tests.fuzz.damage import damaged, garbage
from tests.fuzz.surface import Case, check
from tests.runtime.sinks.kinds import event

_HOST = "127.0.0.1"
_READS = 4


@contextlib.contextmanager
def open_broker(folder: Path) -> Iterator[Case]:
    """A broker that answers with damaged packets: the sink loses no result, accepts results and closes in time."""
    number = 0

    def case(rng: random.Random) -> None:
        nonlocal number
        number += 1
        spool = folder / f"{number}.spool"
        script = list(_packets(rng))
        done = threading.Event()
        options = f"spool={spool}&close_s=0&protocol={rng.choice(('5', '3.1.1'))}"
        with (
            _serving(lambda connection: _send(connection, script, done)) as port,
            open_sink(f"mqtt://{_HOST}:{port}/t?{options}") as sink,
        ):
            for sequence in range(3):
                sink.write(event(sequence))
            done.wait(2)
            waiting = sink.undelivered  # type: ignore[attr-defined]
            check(0 <= waiting <= 3, f"{waiting} results wait")
        for path in folder.glob(f"{number}.spool*"):
            path.unlink()

    yield case


def _packets(rng: random.Random) -> Iterator[bytes]:
    """Yield a broker's packets: usually the acceptance of the connection, then every kind, some damaged."""
    accepted = rng.choice((b"\x20\x03\x00\x00\x00", b"\x20\x02\x00\x00", b"\x20\x06\x00\x00\x03\x21\x00\x01"))
    if rng.random() < 0.8:
        yield accepted
    for _ in range(rng.choice((1, 2, 10))):
        kind = rng.choice((0x20, 0x30, 0x32, 0x34, 0x40, 0x40, 0x50, 0x62, 0x70, 0x90, 0xB0, 0xD0, 0xE0, 0xF0, 0x00))
        mid = struct.pack(">H", rng.choice((0, 1, 2, 3, 65535)))
        body = rng.choice((mid, mid + b"\x00", mid + b"\x10\x00", mid + b"\x97\x03\x1f\x00\x00", garbage(rng, 60)))
        length = rng.choice(
            (bytes([len(body)]), b"\xff\xff\xff\x7f", b"\xff\xff\xff\xff", b"\x00", b"\x80\x80\x80\x80\x01")
        )
        packet = bytes([kind]) + length + body
        yield damaged(rng, packet) if rng.random() < 0.4 else packet


@contextlib.contextmanager
def open_streams(_folder: Path) -> Iterator[Case]:
    """Damaged Motion JPEG over HTTP and RTSP: a picture or a typed error, in time."""

    def case(rng: random.Random) -> None:
        scheme = rng.choice(("http", "http", "rtsp"))
        script = list(_http(rng) if scheme == "http" else _rtsp(rng))
        with (
            _serving(lambda connection: _send(connection, script, threading.Event())) as port,
            open_camera(f"{scheme}://{_HOST}:{port}/live", CameraOptions(timeout_s=0.5)) as camera,
        ):
            for _ in range(_READS):
                frame = camera.read()
                check(frame is not None and frame.image.dtype == np.uint8 and frame.image.ndim == 3, "not a frame")

    yield case


def _http(rng: random.Random) -> Iterator[bytes]:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame\r\n\r\n"
    kinds = (b"video/mp4", b"application/vnd.apple.mpegurl", b"text/html", b"image/gif", b"audio/wav")
    if rng.random() < 0.2:
        head = head.replace(b"multipart/x-mixed-replace; boundary=frame", rng.choice(kinds))
    yield damaged(rng, head) if rng.random() < 0.2 else head
    if rng.random() < 0.1:
        yield b"#EXTM3U\n#EXT-X-VERSION:3\n#EXTINF:9,\nfile:///etc/passwd\nconcat:/etc/passwd|/etc/hosts\n#EXT-X-ENDLIST\n"
    for _ in range(rng.choice((1, 3, 8))):
        jpeg = cv2.imencode(".jpg", np.full((48, 64, 3), rng.randrange(256), np.uint8))[1].tobytes()
        jpeg = damaged(rng, jpeg) if rng.random() < 0.5 else jpeg
        size = rng.choice((len(jpeg), len(jpeg), 0, -1, 2**31, 2**63, 3))
        part = b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % size + jpeg + b"\r\n"
        yield damaged(rng, part) if rng.random() < 0.3 else part
    if rng.random() < 0.2:
        yield garbage(rng, 100_000)


def _rtsp(rng: random.Random) -> Iterator[bytes]:
    sdp = (
        b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=video 0 RTP/AVP 26\r\n"
        b"a=rtpmap:26 JPEG/90000\r\na=control:track1\r\n"
    )
    answers = (
        b"Public: OPTIONS, DESCRIBE, SETUP, PLAY\r\n\r\n",
        b"Content-Type: application/sdp\r\nContent-Length: %d\r\n\r\n" % len(sdp) + sdp,
        b"Session: 1;timeout=60\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n\r\n",
        b"Session: 1\r\n\r\n",
    )
    for number, answer in enumerate(answers, 1):
        whole = b"RTSP/1.0 200 OK\r\nCSeq: %d\r\n" % number + answer
        yield damaged(rng, whole) if rng.random() < 0.35 else whole
    for _ in range(rng.choice((1, 20))):
        packet = b"\x80\x1a" + rng.randbytes(10) + bytes(4) + b"\x01\x32\x08\x06" + garbage(rng, 200)
        yield b"$\x00" + struct.pack(">H", rng.choice((len(packet), 0, 65535))) + packet


def _send(connection: socket.socket, script: list[bytes], done: threading.Event) -> None:
    """Send each piece after the peer sent data, or after a moment; then disconnect."""
    connection.settimeout(0.05)
    for piece in script:
        with contextlib.suppress(TimeoutError):
            if not connection.recv(65536):
                break
        connection.sendall(piece)
    done.set()
    with contextlib.suppress(TimeoutError):
        connection.recv(65536)


@contextlib.contextmanager
def _serving(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """Answer each connection at a port, one after another."""
    with socket.create_server((_HOST, 0)) as server:
        stopped = threading.Event()

        def serve() -> None:
            while not stopped.is_set():
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection, contextlib.suppress(OSError):
                    answer(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            stopped.set()
            with contextlib.suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)
            thread.join(5)


@contextlib.contextmanager
def open_videos(folder: Path) -> Iterator[Case]:
    """Damaged video files: frames, or a typed error for unreadable ones."""
    whole = tuple(_videos(folder))

    def case(rng: random.Random) -> None:
        path = folder / f"work.{rng.choice(('mp4', 'avi', 'mkv', 'mov'))}"
        path.write_bytes(damaged(rng, rng.choice(whole), whole) if rng.random() < 0.95 else garbage(rng, 5000))
        with open_camera(f"video:{path}") as camera:
            count = 0
            while (frame := camera.read()) is not None:
                check(frame.sequence == count and frame.image.ndim == 3, "frames out of order")
                count += 1
                check(count < 10_000, "frames without end")

    yield case


def _videos(folder: Path) -> Iterator[bytes]:
    for suffix, code in (("avi", "MJPG"), ("mp4", "mp4v"), ("mkv", "MJPG")):
        path = folder / f"whole.{suffix}"
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*code), 25, (64, 48))
        for number in range(6):
            writer.write(np.full((48, 64, 3), number * 40, np.uint8))
        writer.release()
        if path.is_file() and path.stat().st_size:
            yield path.read_bytes()
