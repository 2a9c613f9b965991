"""The server of Modbus requests, byte by byte."""

import asyncio
import contextlib
import random
import struct
from collections.abc import Awaitable, Callable

import pytest

from partsight.runtime.sinks.allow import MAX_CONNECTIONS, AllowList
from partsight.runtime.sinks.modbus_server import ModbusServer, answer
from tests.runtime.sinks.broker import free_port
from tests.waiting import HANG_S

Peer = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Table:
    """Registers 1, 2 and 3, and a coil."""

    def __init__(self) -> None:
        self.is_set = True

    def read_registers(self) -> list[int]:
        return [1, 2, 0xABCD]

    def read_coil(self) -> bool:
        return self.is_set

    def clear_coil(self) -> None:
        self.is_set = False


Connect = Callable[..., Awaitable[Peer]]


def serve(test: Callable[[Connect], Awaitable[None]], allow: str = "", idle_s: float = 60.0) -> None:
    """Run a test that is handed a function which connects from a host."""

    async def run() -> None:
        port, peers = free_port(), []

        async def connect(host: str = "127.0.0.1") -> Peer:
            peers.append(await asyncio.open_connection("127.0.0.1", port, local_addr=(host, 0)))
            return peers[-1]

        server = ModbusServer(Table(), AllowList("modbus://here", allow), idle_s)
        await server.start(["127.0.0.1"], port)
        try:
            await asyncio.wait_for(test(connect), HANG_S)
        finally:
            await server.stop()
            for _, writer in peers:
                writer.transport.abort()
                with contextlib.suppress(ConnectionError):
                    await writer.wait_closed()

    asyncio.run(run())


def request(function: int, data: bytes, transaction: int = 1) -> bytes:
    return struct.pack(">HHHBB", transaction, 0, 2 + len(data), 9, function) + data


async def ask(peer: Peer, data: bytes) -> bytes:
    """Return the function and data of the answer."""
    peer[1].write(data)
    *_, size = struct.unpack(">HHH", await peer[0].readexactly(6))
    return (await peer[0].readexactly(size))[1:]


async def is_ended(peer: Peer) -> bool:
    try:
        return await peer[0].read(1) == b""
    except ConnectionError:
        return True


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        (b"\1\0\0\0\1", b"\1\1\1"),
        (b"\2\0\0\0\x10", b"\2\2\1\0"),
        (b"\1\0\1\0\1", b"\1\1\0"),  # coil 1 is 0
        (b"\3\0\0\0\3", b"\3\6\0\1\0\2\xab\xcd"),
        (b"\4\0\1\0\1", b"\4\2\0\2"),
        (b"\1\0\0\0\x11", b"\x81\2"),  # more coils than there are
        (b"\4\0\0\0\4", b"\x84\2"),
        (b"\4\xff\xff\0\1", b"\x84\2"),
        (b"\4\0\0\0\0", b"\x84\3"),  # none
        (b"\4\0\0\0\x7e", b"\x84\3"),  # more than one request may ask for
        (b"\4\0", b"\x84\3"),
        (b"\5\0\0\xff\0", b"\x85\3"),  # set the coil
        (b"\5\0\0\0\1", b"\x85\3"),
        (b"\5\0\1\0\0", b"\x85\2"),
        (b"\x0f\0\0\0\1\1\1", b"\x8f\3"),
        (b"\x0f\0\0\0\2\1\0", b"\x8f\2"),
        (b"\x0f\0\0\0\1\2\0", b"\x8f\3"),
        (b"\x0f\0\0\0\1\0", b"\x8f\3"),
        (b"\6\0\0\0\0", b"\x86\1"),  # write a register
        (b"\x10\0\0\0\1\2\0\0", b"\x90\1"),
        (b"\x08\0\4\0\0", b"\x88\1"),  # listen only, from then on
        (b"\x2b\x0e\1\0", b"\xab\1"),  # identification
        (b"\0", b"\x80\1"),
        (b"\xff", b"\xff\1"),
    ],
)
def test_answers(asked: bytes, answered: bytes) -> None:
    table = Table()
    assert answer(asked, table) == answered
    assert table.is_set


@pytest.mark.parametrize("asked", [b"\5\0\0\0\0", b"\x0f\0\0\0\1\1\0"])
def test_the_coil_is_cleared(asked: bytes) -> None:
    table = Table()
    assert answer(asked, table) == asked[:5]
    assert not table.is_set


def test_any_request_has_an_answer_that_fits() -> None:
    chance = random.Random(0)
    for _ in range(20_000):
        asked = bytes([chance.choice((1, 2, 3, 4, 5, 15, chance.randrange(256)))]) + chance.randbytes(
            chance.randrange(9)
        )
        assert 2 <= len(answer(asked, Table())) <= 253


def test_requests_sent_together_or_in_pieces_are_answered_in_turn() -> None:
    async def test(connect: Connect) -> None:
        reader, writer = await connect()
        for transaction in range(20):
            writer.write(request(4, b"\0\0\0\1", transaction))
        last = request(4, b"\0\0\0\1", 20)
        writer.write(last[:7])
        answers = [await reader.readexactly(11) for _ in range(20)]
        writer.write(last[7:])
        answers.append(await reader.readexactly(11))
        assert answers == [struct.pack(">HHHBBBH", number, 0, 5, 9, 4, 2, 1) for number in range(21)]

    serve(test)


@pytest.mark.parametrize("sent", [b"\0\1\0\1\0\6", b"\0\1\0\0\0\1", b"\0\1\0\0\0\xff", b"GET / HTTP/1.1\r\n"])
def test_what_is_no_request_ends_its_connection_alone(sent: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async def test(connect: Connect) -> None:
        good, bad = await connect(), await connect()
        bad[1].write(sent)
        assert await is_ended(bad)
        assert await ask(good, request(4, b"\0\0\0\1")) == b"\4\2\0\1"

    serve(test)
    assert [record.event for record in caplog.records] == ["connection_refused"]  # type: ignore[attr-defined]


def test_only_hosts_of_the_list_may_connect() -> None:
    async def test(connect: Connect) -> None:
        assert await is_ended(await connect("127.0.0.2"))
        assert await ask(await connect("127.0.0.3"), request(1, b"\0\0\0\1")) == b"\1\1\1"

    serve(test, allow="127.0.0.3,10.0.0.0/8")


def test_connections_are_bounded() -> None:
    async def test(connect: Connect) -> None:
        peers = [await connect() for _ in range(MAX_CONNECTIONS)]
        for peer in peers:
            await ask(peer, request(1, b"\0\0\0\1"))
        assert await is_ended(await connect())
        for peer in peers:
            await ask(peer, request(1, b"\0\0\0\1"))
        peers[0][1].write(b"nonsense")
        assert await is_ended(peers[0])
        await ask(await connect(), request(1, b"\0\0\0\1"))

    serve(test)


def test_a_silent_connection_ends() -> None:
    async def test(connect: Connect) -> None:
        silent, slow = await connect(), await connect()
        slow[1].write(request(1, b"\0\0\0\1")[:-1])
        assert await is_ended(silent)
        assert await is_ended(slow)

    serve(test, idle_s=0.1)


def test_a_flood_does_not_keep_others_waiting() -> None:
    async def test(connect: Connect) -> None:
        good = await connect()
        floods = [await connect() for _ in range(MAX_CONNECTIONS - 1)]
        for _, writer in floods:
            writer.write(request(3, b"\0\0\0\3") * 100_000)  # and reads no answer
        for _ in range(20):
            assert await ask(good, request(4, b"\0\0\0\1")) == b"\4\2\0\1"

    serve(test)


def test_a_peer_that_reads_no_answers_does_not_stop_the_end() -> None:
    async def test(connect: Connect) -> None:
        _, writer = await connect()
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(request(3, b"\0\0\0\3") * 200_000)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(writer.drain(), 0.2)  # until the server takes no more

    serve(test)
