"""Requests to the servers of a line: Modbus, OPC UA and metrics, as raw bytes over TCP."""

import asyncio
import contextlib
import random
import select
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

from partsight.runtime.sinks import open_sink
from partsight.runtime.sinks.record import Candidate, FrameEvent, Record
from tests.fuzz.damage import damaged, garbage
from tests.fuzz.surface import Case, check
from tests.runtime.sinks.broker import free_port
from tests.tiny import ONE_THREAD

_HOST = "127.0.0.1"
_PATIENCE_S = 3.0
_CREATE = 2
"""Index of the request for a session in the messages of an OPC UA client, after greeting and channel."""

_SESSION_AT = 24 + 4 + 24  # in the answer: behind the headers of message, type and response


@contextlib.contextmanager
def open_modbus(_folder: Path) -> Iterator[Case]:
    """Any bytes to the Modbus server: another client still reads the last result, and nothing changes."""
    port = free_port()
    with open_sink(f"modbus://:{port}?ack_s=0") as sink, _connect(port) as good:
        sink.write(_event(7))
        expected = _read_registers(good)
        check(expected[1] == 1, "the sink shows nothing")

        def case(rng: random.Random) -> None:
            sink.write(_event(7))
            expected = _read_registers(good)
            with _connect(port) as bad:
                for piece in _modbus(rng):
                    if not _send(bad, piece):
                        break
                check(_read_registers(good) == expected, "a register was changed")
                _take(bad)

        yield case


def _read_registers(good: socket.socket) -> tuple[int, ...]:
    good.sendall(struct.pack(">HHHBBHH", 9, 0, 6, 1, 4, 0, 20))
    answer = _receive(good, 9 + 40)
    check(answer[:9] == struct.pack(">HHHBBB", 9, 0, 43, 1, 4, 40), f"the server answers {answer[:9]!r}")
    return struct.unpack(">20H", answer[9:])


def _modbus(rng: random.Random) -> Iterator[bytes]:
    for _ in range(rng.choice((1, 1, 2, 20))):
        function = rng.choice((1, 2, 3, 4, 5, 6, 15, 16, 22, 23, 43, 8, 7, 20, rng.randrange(256)))
        numbers = [rng.choice((0, 1, 2, 19, 20, 21, 125, 0xFF00, 0xFFFF, rng.randrange(65536))) for _ in range(3)]
        body = struct.pack(">HH", *numbers[:2]) + rng.choice((b"", b"\x02\x00\x01", garbage(rng, 250)))
        length = rng.choice((len(body) + 2, len(body) + 2, 0, 1, 2, 65535, rng.randrange(300)))
        frame = struct.pack(">HHHBB", numbers[2], rng.choice((0, 0, 0, 1)), length, rng.randrange(256), function) + body
        style = rng.random()
        if style < 0.3:
            frame = damaged(rng, frame, (frame,))
        elif style < 0.35:
            frame = garbage(rng, rng.choice((20, 3000)))
        yield from _cut(rng, frame)


@contextlib.contextmanager
def open_metrics(folder: Path) -> Iterator[Case]:
    """Any bytes to the metrics server: another client is still answered."""
    from partsight.runtime.line import Line
    from partsight.runtime.line.metrics.registry import Metrics
    from partsight.runtime.line.metrics.server import MetricsServer
    from partsight.runtime.recognition.recognizer import Recognizer
    from tests.runtime.line.scripted import ScriptedCamera
    from tests.tiny import write_tiny_package

    with Recognizer(write_tiny_package(folder / "p.partsight"), engine=ONE_THREAD) as recognizer:
        line = Line(recognizer, {"c": lambda: ScriptedCamera([], ends=False)})
        with MetricsServer(Metrics(line), _HOST, 0) as server:

            def case(rng: random.Random) -> None:
                with _connect(server.port) as bad:
                    for piece in _http(rng):
                        if not _send(bad, piece):
                            break
                    with _connect(server.port) as good:
                        good.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
                        check(_receive(good, 12).startswith(b"HTTP/1.0 503"), "a good client is not answered")
                    _take(bad)

            yield case


def _http(rng: random.Random) -> Iterator[bytes]:
    method = rng.choice((b"GET", b"GET", b"HEAD", b"POST", b"get", b"OPTIONS", b"", b"\x16\x03\x01", garbage(rng, 20)))
    path = rng.choice(
        (b"/metrics", b"/healthz", b"/", b"/../../etc/passwd", b"//x", b"*", b"/metrics?" + garbage(rng, 60))
    )
    version = rng.choice(
        (b"HTTP/1.1", b"HTTP/1.0", b"HTTP/0.9", b"HTTP/2.0", b"HTTP/9999999999.1", b"", garbage(rng, 9))
    )
    names = (b"Host", b"Accept", b"Content-Length", b"Transfer-Encoding", b"Connection", b"Expect", garbage(rng, 8))
    values = (b"x", b"-1", b"9" * 5000, b"chunked", b"100-continue", b"application/openmetrics-text", garbage(rng, 60))
    heads = [rng.choice(names) + b": " + rng.choice(values) for _ in range(rng.choice((0, 1, 3, 120)))]
    head = b"\r\n".join([method + b" " + path + b" " + version, *heads, b"", b""])
    yield from _cut(rng, damaged(rng, head) if rng.random() < 0.3 else head)


@contextlib.contextmanager
def open_opcua(_folder: Path) -> Iterator[Case]:
    """Damaged messages of a client to the OPC UA server: another client still reads the last result."""
    port = free_port()
    with open_sink(f"opcua://:{port}") as sink:
        sink.write(_event(7))
        talk = _Conversation.record(port)

        def case(rng: random.Random) -> None:
            with _connect(port) as bad:
                _disturb(rng, talk, bad)
                check(b"M8x40" in talk.repeat(port), "a good client does not read the last result")
                _take(bad)

        yield case


class _Conversation:
    """Messages of a client of asyncua, to be sent again with the keys of a new session."""

    def __init__(self, sent: list[bytes], received: list[bytes]) -> None:
        self.sent = sent
        self._channel, self._token = received[1][8:12], _token(received[_CREATE])

    @classmethod
    def record(cls, port: int) -> "_Conversation":
        from asyncua import Client

        sent: list[bytes] = []
        received: list[bytes] = []

        async def talk() -> None:
            async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                there, onward = await asyncio.open_connection(_HOST, port)

                async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter, kept: list[bytes]) -> None:
                    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                        while True:
                            head = await source.readexactly(8)
                            body = await source.readexactly(struct.unpack("<I", head[4:])[0] - 8)
                            kept.append(head + body)
                            sink.write(head + body)

                await asyncio.gather(pump(reader, onward, sent), pump(there, writer, received))

            proxy = await asyncio.start_server(relay, _HOST, 0)
            through = proxy.sockets[0].getsockname()[1]
            client = Client(f"opc.tcp://{_HOST}:{through}/partsight", timeout=30, watchdog_intervall=600)
            await client.connect()
            node = client.get_node("ns=2;s=partsight.label")
            await node.read_value()
            await client.get_node("ns=2;s=partsight").get_children()
            with contextlib.suppress(Exception):
                await node.write_value("x")
            subscription = await client.create_subscription(500, _Handler())
            await subscription.subscribe_data_change(node)
            del sent[-1:]  # publish requests wait for events
            proxy.close()

        asyncio.run(asyncio.wait_for(talk(), 60))
        return cls(sent, received)

    def speak(self, connection: socket.socket, until: int) -> tuple[bytes, bytes, bytes]:
        """Send the first messages, each after the answer to the previous; return channel, token and the last answer."""
        channel, token, answer = self._channel, self._token, b""
        for index in range(until):
            connection.sendall(self.fitted(index, channel, token))
            answer = _receive_ua(connection)
            if index == 1:
                channel = answer[8:12]
            if index == _CREATE:
                token = _token(answer)
        return channel, token, answer

    def fitted(self, index: int, channel: bytes, token: bytes, number: int | None = None) -> bytes:
        """Return a message with channel and token of another session, and with a number in it."""
        message = self.sent[index]
        if message[:3] != b"MSG":
            return message
        numbers = message[16:24] if number is None else struct.pack("<II", number, number)
        body = message[24:].replace(self._token, token, 1)
        return message[:4] + struct.pack("<I", 24 + len(body)) + channel + message[12:16] + numbers + body

    @property
    def reads(self) -> int:
        """Number of messages up to the one that reads the label."""
        return _CREATE + 3

    def repeat(self, port: int) -> bytes:
        """Send all messages up to the one that reads the label, and return its answer."""
        with _connect(port) as good:
            return self.speak(good, self.reads)[2]


class _Handler:
    def datachange_notification(self, *_: object) -> None:
        pass


def _token(answer: bytes) -> bytes:
    """Return the token of a session, which follows the session's id."""
    start = _SESSION_AT + _node_id_size(answer, _SESSION_AT)
    return answer[start : start + _node_id_size(answer, start)]


def _node_id_size(data: bytes, offset: int) -> int:
    form = data[offset] & 0x3F
    if form in (3, 5):  # a text, or bytes
        return 7 + struct.unpack_from("<I", data, offset + 3)[0]
    return {0: 2, 1: 4, 2: 7, 4: 19}[form]


def _disturb(rng: random.Random, talk: _Conversation, bad: socket.socket) -> None:
    """Send a few messages unchanged, then damaged ones."""
    index = rng.randint(0, len(talk.sent) - 1)
    try:
        sent = min(index, talk.reads)
        channel, token, _ = talk.speak(bad, sent)
    except OSError:
        return
    for more in range(rng.choice((1, 1, 3))):
        message = talk.fitted(rng.choice((index, rng.randrange(len(talk.sent)))), channel, token, sent + more)
        style = rng.random()
        if style < 0.8:
            cut = rng.choice((0, 8, 12, 24))  # damage behind the header reaches deeper code
            message = message[:cut] + damaged(rng, message[cut:], (message,))
            if cut:
                message = message[:4] + struct.pack("<I", len(message)) + message[8:]
        elif style < 0.9:
            message = message[:4] + struct.pack("<I", rng.choice((0, 7, 8, 12, 2**20, 2**31, 2**32 - 1))) + message[8:]
            message += bytes(rng.choice((0, 1000, 2_000_000)))
        else:
            message = garbage(rng, 300)
        for piece in _cut(rng, message):
            if not _send(bad, piece):
                return


def _receive_ua(connection: socket.socket) -> bytes:
    head = _receive(connection, 8)
    return head + _receive(connection, struct.unpack("<I", head[4:])[0] - 8)


def _event(sequence: int) -> FrameEvent:
    top = (Candidate("M8x40", 0.75),)
    facts = {"camera": "left", "source": "usb:0", "run": "r", "timestamp": 1.5, "package_id": "0" * 16}
    record = Record(outcome="recognised", sequence=sequence, label="M8x40", score=0.75, margin=0.5, top=top, **facts)  # type: ignore[arg-type]
    return FrameEvent(record)


def _connect(port: int) -> socket.socket:
    return socket.create_connection((_HOST, port), _PATIENCE_S)


def _cut(rng: random.Random, data: bytes) -> Iterator[bytes]:
    """Yield data in one piece or several."""
    if rng.random() < 0.8 or len(data) < 2:
        yield data
        return
    index = rng.randrange(1, len(data))
    yield data[:index]
    yield data[index:]


def _send(connection: socket.socket, data: bytes) -> bool:
    """Send; return whether the other side still takes anything."""
    try:
        connection.sendall(data)
    except OSError:
        return False
    return True


def _take(connection: socket.socket) -> None:
    """Read the received bytes, so that the other side sees a regular end of the connection."""
    with contextlib.suppress(OSError):
        while select.select([connection], [], [], 0)[0] and connection.recv(65536):
            pass


def _receive(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = connection.recv(size - len(data))
        if not piece:
            raise ConnectionError(f"the server hung up after {data[:40]!r}")
        data += piece
    return data
