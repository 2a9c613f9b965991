"""The guard before a server, with a server that answers `N bytes` requests; in the loop of each test."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from types import SimpleNamespace

import pytest

from partsight.runtime.sinks import guard as module
from partsight.runtime.sinks.guard import BURST_S, MAX_A_HOST, MAX_CONNECTIONS, SHARE, Connection, Guard
from partsight.runtime.sinks.guard import parse_networks as networks
from tests.waiting import HANG_S

HOSTS = tuple(f"127.0.0.{number}" for number in range(1, 5))  # all of them this machine's, on Linux and Windows


class Echo(asyncio.Protocol):
    """Answers a request of length and bytes with the bytes, later, as servers do."""

    def __init__(self, connection: Connection, work_s: float, answer: bytes = b"") -> None:
        self._connection, self._work_s, self._answer = connection, work_s, answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if data[1:] == b"raise":
            raise KeyError("raise")
        asyncio.get_running_loop().call_soon(self._reply, data)

    def _reply(self, data: bytes) -> None:
        self._transport.write(self._answer or data[1:])
        self._connection.answered(self._work_s)


def size(head: bytes) -> int:
    if head[:1] == b"\xff":
        raise ValueError("what is no request")
    return 1 + head[0] if head else 0


class Peer:
    """A client of the server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def ask(self, text: bytes) -> bytes:
        self.writer.write(bytes([len(text)]) + text)
        return await self.reader.readexactly(len(text))

    async def is_ended(self) -> bool:
        """Wait until the other end hangs up."""
        try:
            return await self.reader.read(1) == b""
        except ConnectionError:
            return True


class Here:
    """The server, and its clients."""

    def __init__(self, guard: Guard, server: asyncio.Server) -> None:
        self.guard, self._server = guard, server
        self.port = server.sockets[0].getsockname()[1]
        self._peers: list[Peer] = []

    async def connect(self, host: str = "127.0.0.1") -> Peer:
        peer = Peer(*await asyncio.open_connection("127.0.0.1", self.port, local_addr=(host, 0)))
        self._peers.append(peer)
        return peer

    async def end(self) -> None:
        for peer in self._peers:
            peer.writer.close()
            with contextlib.suppress(ConnectionError):
                await peer.writer.wait_closed()
        self._server.close()
        self.guard.close()
        await self._server.wait_closed()


def serve(
    test: Callable[[Here], Awaitable[None]],
    allow: str = "",
    idle_s: float = 60.0,
    work_s: float = 0.0,
    answer: bytes = b"",
) -> None:
    async def run() -> None:
        guard = Guard("echo://here", size, lambda connection: Echo(connection, work_s, answer), networks(allow), idle_s)
        here = Here(guard, await asyncio.get_running_loop().create_server(guard.connection, "127.0.0.1", 0))
        try:
            await asyncio.wait_for(test(here), HANG_S)
        finally:
            await here.end()

    asyncio.run(run())


def test_requests_in_pieces_and_several_at_once() -> None:
    async def test(here: Here) -> None:
        peer = await here.connect()
        peer.writer.write(b"\x05ab")
        await peer.writer.drain()
        await asyncio.sleep(0.01)
        peer.writer.write(b"cde\x01f\x02gh\x03i")
        assert await peer.reader.readexactly(8) == b"abcdefgh"
        peer.writer.write(b"jk")
        assert await peer.reader.readexactly(3) == b"ijk"
        assert here.guard.refused == 0

    serve(test)


@pytest.mark.parametrize(("sent", "why"), [(b"\xff", "it sends what is no request"), (b"\x05raise", "KeyError")])
def test_what_is_no_request_ends_its_connection_alone(sent: bytes, why: str, caplog: pytest.LogCaptureFixture) -> None:
    async def test(here: Here) -> None:
        good, bad = await here.connect(), await here.connect()
        assert await good.ask(b"before") == b"before"
        bad.writer.write(sent)
        assert await bad.is_ended()
        assert await good.ask(b"after") == b"after"
        assert here.guard.refused == 1

    serve(test)
    assert why in caplog.text


def test_connections_of_a_host_are_bounded_and_those_that_are_open_go_on(caplog: pytest.LogCaptureFixture) -> None:
    async def test(here: Here) -> None:
        first = await here.connect(HOSTS[0])
        assert await first.ask(b"first") == b"first"
        flood = [await here.connect(HOSTS[1]) for _ in range(3 * MAX_A_HOST)]
        assert all(await asyncio.gather(*(peer.is_ended() for peer in flood[MAX_A_HOST:])))
        assert here.guard.refused == 2 * MAX_A_HOST
        assert await first.ask(b"again") == b"again"
        for peer in flood:
            peer.writer.close()
        while len(here.guard._connections) > 1:  # until the server has heard of it
            await asyncio.sleep(0.001)
        assert await (await here.connect(HOSTS[1])).ask(b"new") == b"new"

    serve(test)
    told = [record for record in caplog.records if getattr(record, "event", "") == "connection_refused"]
    assert [record.getMessage().partition(" (")[0] for record in told] == [
        "echo://here: refuses 127.0.0.2: 8 of its connections are open",  # once a minute, and the rest at the end
        "echo://here: refused 16 times in all",
    ]


def test_hosts_with_many_connections_do_not_keep_another_out() -> None:
    async def test(here: Here) -> None:
        places = dict.fromkeys(HOSTS[:2], MAX_CONNECTIONS // 2)
        flood = {host: [await here.connect(host) for _ in range(count)] for host, count in places.items()}
        for peer in flood[HOSTS[0]][1:] + flood[HOSTS[1]]:  # so that the first is silent longest
            assert await peer.ask(b"x") == b"x"
        third = await here.connect(HOSTS[2])
        assert await flood[HOSTS[0]][0].is_ended()
        assert await third.ask(b"third") == b"third"
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await (await here.connect(HOSTS[2])).ask(b"more")  # it has a place already
        fourth = await here.connect(HOSTS[3])
        assert await fourth.ask(b"fourth") == b"fourth"
        assert await third.ask(b"again") == b"again"
        assert len(here.guard._connections) == MAX_CONNECTIONS

    serve(test)


def test_where_each_host_has_one_connection_none_gives_way() -> None:
    async def test(here: Here) -> None:
        peers = [await here.connect(f"127.0.1.{number}") for number in range(1, MAX_CONNECTIONS + 1)]
        for peer in peers:
            assert await peer.ask(b"x") == b"x"
        assert await (await here.connect(HOSTS[0])).is_ended()
        for peer in peers:
            assert await peer.ask(b"y") == b"y"

    serve(test)


def test_allow(caplog: pytest.LogCaptureFixture) -> None:
    async def test(here: Here) -> None:
        assert await (await here.connect(HOSTS[1])).is_ended()
        for host in HOSTS[2:]:
            assert await (await here.connect(host)).ask(b"x") == b"x"
        assert here.guard.refused == 1

    serve(test, allow="127.0.0.3,127.0.0.4/32,::1")
    assert "refuses 127.0.0.2: it is not in allow=" in caplog.text


@pytest.mark.parametrize("text", ["10.0.0", "10.0.0.1/24", "plc", "10.0.0.1,"])
def test_allow_that_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="expected addresses and networks, separated by commas"):
        networks(text)


def test_silent_connections_end(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(here: Here) -> None:
        busy = await here.connect()
        assert await busy.ask(b"x") == b"x"
        monkeypatch.setattr(module, "FIRST_S", 0.05)
        silent, slow = await here.connect(), await here.connect()
        slow.writer.write(b"\x05")  # a request that never becomes whole
        assert all(await asyncio.gather(silent.is_ended(), slow.is_ended()))
        assert await busy.ask(b"y") == b"y"

    serve(test)


def test_a_connection_that_falls_silent_ends() -> None:
    async def test(here: Here) -> None:
        peer = None
        while peer is None:  # on a busy machine one is silent for so long before its first request
            peer = await here.connect()
            try:
                assert await peer.ask(b"x") == b"x"
            except (ConnectionError, asyncio.IncompleteReadError):
                peer = None
        assert await peer.is_ended()

    serve(test, idle_s=0.1)


def test_a_host_gets_its_share_of_work_and_others_do_not_wait(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    work_s, now = BURST_S / 5, [0.0]
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0]))

    async def test(here: Here) -> None:
        waits: dict[str, list[float]] = {host: [] for host in HOSTS}
        wait_s = here.guard.wait_s
        monkeypatch.setattr(here.guard, "wait_s", lambda host: (waits[host].append(wait_s(host)), waits[host][-1])[1])
        greedy, other = await here.connect(HOSTS[1]), await here.connect(HOSTS[2])
        greedy.writer.write(b"\x01x" * 1000)
        assert await greedy.reader.readexactly(6) == b"x" * 6  # the burst, and the one that overdraws it
        assert await other.ask(b"y") == b"y"
        assert not any(waits[HOSTS[2]])
        again = await here.connect(HOSTS[1])  # another connection of the same host waits as well
        asked, before = asyncio.create_task(again.ask(b"z")), len(waits[HOSTS[1]])
        while len(waits[HOSTS[1]]) == before:
            await asyncio.sleep(0)
        assert waits[HOSTS[1]][-1] == pytest.approx(work_s / SHARE)
        assert not asked.done()
        now[0] += 1000
        assert await asked == b"z"

    serve(test, work_s=work_s)
    assert "echo://here: slows 127.0.0.2 down" in caplog.text


def test_answers_that_nobody_takes_do_not_pile_up() -> None:
    async def test(here: Here) -> None:
        greedy = await here.connect()
        greedy.writer.write(b"\x01x" * 2**20)
        while not here.guard._connections:
            await asyncio.sleep(0.001)
        (connection,) = here.guard._connections
        while not connection._is_full:
            await asyncio.sleep(0.001)
        for _ in range(50):  # in which it could answer as many more
            await asyncio.sleep(0)
        assert connection._transport is not None
        assert not connection._transport.is_reading()  # what is not answered stays with the peer
        assert connection._transport.get_write_buffer_size() < 3 * 2**20
        assert len(connection._received) < 2**19
        assert await greedy.reader.readexactly(5 * 2**20) == b"x" * 5 * 2**20  # and it goes on when the peer takes them

    serve(test, answer=b"x" * 2**20)


def test_warnings_once_a_minute(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    guard = Guard("x://y", size, lambda _: None, (), 60.0)
    with caplog.at_level(logging.WARNING):
        for _ in range(5):
            guard.refuse("1.2.3.4", "why")
        now[0] += 61
        guard.refuse("1.2.3.4", "why")
        guard.close()
    assert [record.getMessage() for record in caplog.records] == [
        "x://y: refuses 1.2.3.4: why (1 refused so far)",
        "x://y: refuses 1.2.3.4: why (6 refused so far)",
    ]
