"""Against pymodbus' own client, as a PLC would ask."""

import asyncio
import contextlib
import logging
import os
import random
import socket
import struct
import threading
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from partsight.runtime.core.errors import SinkError
from partsight.runtime.sinks import check_address, open_sink
from partsight.runtime.sinks.registers import read_labels
from tests.runtime.sinks.broker import free_port
from tests.runtime.sinks.kinds import event, failed

pytest.importorskip("pymodbus")
from pymodbus.client import ModbusTcpClient

from tests.waiting import HANG_S


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def plc(port: int) -> Iterator[ModbusTcpClient]:
    with ModbusTcpClient("127.0.0.1", port=port, timeout=HANG_S) as client:
        yield client


def connect(plc: ModbusTcpClient) -> ModbusTcpClient:
    assert plc.connect()
    return plc


def coil(plc: ModbusTcpClient) -> bool:
    return bool(plc.read_coils(0, count=1).bits[0])


def long(registers: list[int], at: int) -> int:
    return registers[at] << 16 | registers[at + 1]


def test_registers(port: int, tmp_path: Path) -> None:
    table = tmp_path / "labels.csv"
    table.write_text('number,label\n17,M8x40\n18,"a,b"\n', encoding="utf-8")
    with (
        open_sink(f"modbus://:{port}?labels={table}&cameras=right,left&ack_s=0") as sink,
        ModbusTcpClient("127.0.0.1", port=port) as plc,
    ):
        empty = plc.read_input_registers(0, count=20).registers
        assert empty == [1, 0, 0, 0, 0x8000, 0x8000, *[0] * 14]
        sink.write(event(70_000, score=0.75, margin=-0.01))
        found = plc.read_input_registers(0, count=20).registers
        assert found == plc.read_holding_registers(0, count=20).registers
        assert found[:6] == [1, 1, 17, 2, 7500, 65536 - 100]
        assert long(found, 6) == 70_000
        sink.write(event(1, "a,b"))
        assert plc.read_input_registers(2, count=1).registers == [18]
        sink.write(event(2, "another", camera="top", score=float("nan")))
        assert plc.read_input_registers(1, count=4).registers == [1, 65535, 0, 0x8000]
        sink.write(event(3, None, score=9.9))
        assert plc.read_input_registers(1, count=4).registers == [2, 0, 2, 32767]
        sink.write(failed(4))
        found = plc.read_input_registers(0, count=20).registers
        assert found[1] == 3
        assert [long(found, at) for at in (8, 10, 12, 14, 16)] == [5, 3, 1, 1, 4]


def test_handshake(port: int, plc: ModbusTcpClient) -> None:
    with open_sink(f"modbus://:{port}?ack_s=30") as sink:
        connect(plc)
        assert not coil(plc)
        sink.write(event(0))
        assert coil(plc)
        second = threading.Thread(target=sink.write, args=(event(1),))
        second.start()
        assert long(plc.read_input_registers(6, count=2).registers, 0) == 0  # the first is shown until it was taken
        assert not plc.write_coil(0, False).isError()
        second.join(HANG_S)
        assert not second.is_alive()
        assert coil(plc)
        assert long(plc.read_input_registers(6, count=2).registers, 0) == 1
        assert not plc.write_coils(0, [False]).isError()
        assert not coil(plc)
        assert long(plc.read_input_registers(16, count=2).registers, 0) == 0


def test_coil_that_is_not_cleared_is_counted(
    port: int, plc: ModbusTcpClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING), open_sink(f"modbus://:{port}?ack_s=0.1") as sink:
        connect(plc)
        waits, wait_for = [], sink._cleared.wait_for  # type: ignore[attr-defined]
        monkeypatch.setattr(sink._cleared, "wait_for", lambda *given: (waits.append(given[1]), wait_for(*given))[1])  # type: ignore[attr-defined]
        for sequence in range(100):
            sink.write(event(sequence, None))
        assert waits == [0.1] * 4 + [0] * 96  # the first found no result before it; then it is taken to be off
        found = plc.read_input_registers(0, count=20).registers
        assert (long(found, 6), long(found, 16)) == (99, 99)
        assert coil(plc)
        plc.write_coil(0, False)
        sink.write(event(100, None))
    first, again = (record.getMessage() for record in caplog.records if record.name == "partsight.sinks")
    assert "did not clear coil 0 within 0.1 s; results before are overwritten until it does" in first
    assert "clears coil 0 again; 99 results waited in vain" in again


def test_coil_that_is_not_cleared_as_an_error(port: int, plc: ModbusTcpClient) -> None:
    with open_sink(f"modbus://:{port}?ack_s=0&not_cleared=error") as sink:
        connect(plc)
        sink.write(event(0))
        with pytest.raises(SinkError, match="did not clear coil 0 within 0 s; the result before stays shown"):
            sink.write(event(1))
        found = plc.read_input_registers(0, count=20).registers
        assert (long(found, 6), long(found, 8), long(found, 16)) == (0, 1, 1)
        plc.write_coil(0, False)
        sink.write(event(1))
        assert long(plc.read_input_registers(6, count=2).registers, 0) == 1


def test_plc_can_change_nothing_else(port: int, plc: ModbusTcpClient) -> None:
    with open_sink(f"modbus://:{port}") as sink:
        connect(plc)
        sink.write(event(0))
        before = plc.read_holding_registers(0, count=20).registers
        for answer in (
            plc.write_coil(0, True),
            plc.write_coil(1, False),
            plc.write_coils(0, [False, False]),
            plc.write_register(1, 0),
            plc.write_registers(0, [0] * 20),
        ):
            assert answer.isError()
        assert plc.read_holding_registers(0, count=20).registers == before
        assert coil(plc)


def raw(port: int, host: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), 5, source_address=(host, 0))


def request(function: int, body: bytes, transaction: int = 1) -> bytes:
    return struct.pack(">HHHBB", transaction, 0, 2 + len(body), 1, function) + body


@pytest.mark.parametrize(
    ("function", "body", "code"),
    [
        (8, b"\0\4\0\0", 1),  # to listen only, from then on
        (43, b"\x0e\1\0", 1),  # to say what it is
        (22, bytes(6), 1),
        (0, b"", 1),
        (255, b"", 1),
        (4, b"\0", 3),
        (15, b"\0\0\0\1\2\0", 3),
        (15, b"\0\0\0\1\0", 3),
        (4, b"\0\0\0\x7d", 2),
    ],
)
def test_requests_that_are_refused(port: int, function: int, body: bytes, code: int) -> None:
    with open_sink(f"modbus://:{port}") as sink, raw(port) as peer:
        sink.write(event(7))
        peer.sendall(request(function, body) + request(1, b"\0\0\0\1", 2))
        expected = struct.pack(">HHHBBB", 1, 0, 3, 1, function | 0x80, code) + b"\0\2\0\0\0\4\1\1\1\1"
        assert receive(peer, len(expected)) == expected
        assert sink.refused == 0  # type: ignore[attr-defined]


def receive(peer: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count and (more := peer.recv(count - len(data))):
        data += more
    return data


def test_requests_sent_together_are_answered_in_turn(port: int) -> None:
    with open_sink(f"modbus://:{port}"), raw(port) as peer:
        peer.sendall(b"".join(request(4, b"\0\0\0\1", number) for number in range(20)))
        answers = receive(peer, 20 * 11)
        assert [int.from_bytes(answers[at : at + 2]) for at in range(0, 220, 11)] == list(range(20))


@pytest.mark.parametrize("head", [b"\0\1\0\1\0\6", b"\0\1\0\0\0\1", b"\0\1\0\0\0\xff", b"GET / HTTP/1.1\r\n"])
def test_what_is_no_request_ends_the_connection(port: int, head: bytes) -> None:
    with open_sink(f"modbus://:{port}") as sink, raw(port) as peer:
        peer.sendall(head)
        with contextlib.suppress(ConnectionResetError):
            assert peer.recv(1) == b""
        assert sink.refused == 1  # type: ignore[attr-defined]


def test_flood_of_connections_and_garbage(port: int, plc: ModbusTcpClient, caplog: pytest.LogCaptureFixture) -> None:
    chance = random.Random(0)
    with (
        caplog.at_level(logging.WARNING),
        open_sink(f"modbus://:{port}?ack_s=0") as sink,
        contextlib.ExitStack() as stack,
    ):
        connect(plc)
        flood = [stack.enter_context(raw(port, f"127.0.0.{2 + number % 4}")) for number in range(100)]
        for number in range(30):
            sink.write(event(number))
            for peer in flood:
                with contextlib.suppress(OSError):  # it was refused, or ended
                    peer.send(chance.choice((request(1, b"\0\0\0\1"), chance.randbytes(300), b"\0")))
            assert long(plc.read_input_registers(6, count=2).registers, 0) == number
        assert sink.refused >= 100 - 15  # type: ignore[attr-defined]
        assert len(sink._guard._connections) <= 16  # type: ignore[attr-defined]
    assert len(caplog.records) < 10  # however many were refused


def test_who_may_connect(port: int, caplog: pytest.LogCaptureFixture) -> None:
    with open_sink(f"modbus://:{port}?allow=127.0.0.3,10.0.0.0/8"):
        with raw(port, "127.0.0.3") as peer:
            peer.sendall(request(1, b"\0\0\0\1"))
            assert len(receive(peer, 10)) == 10
        with raw(port, "127.0.0.2") as peer, contextlib.suppress(ConnectionResetError):
            assert peer.recv(1) == b""
    assert "refuses 127.0.0.2: it is not in allow=" in caplog.text
    assert "open to the network" not in caplog.text
    with pytest.raises(SinkError, match=r"allow: .*'plc'.* expected addresses and networks, separated by commas"):
        check_address("modbus:?allow=plc")


@pytest.mark.parametrize(
    ("options", "whom"),
    [("", "whoever can reach this machine"), ("?allow=10.0.0.5", "whoever has an address in 10.0.0.5")],
)
def test_server_that_others_can_reach_is_told(
    port: int, options: str, whom: str, caplog: pytest.LogCaptureFixture
) -> None:
    with open_sink(f"modbus://0.0.0.0:{port}{options}"):
        (record,) = [record for record in caplog.records if getattr(record, "event", "") == "server_exposed"]
    assert record.getMessage().startswith(f"modbus://0.0.0.0:{port} is open to the network: {whom}")
    assert "can read the last result, and clear coil 0" in record.getMessage()


def test_host_that_nothing_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(SinkError, match=r"modbus://plc:5020: plc is no address of this machine"):
        open_sink("modbus://plc")


def test_port_that_is_taken(port: int) -> None:
    with open_sink(f"modbus://:{port}"), pytest.raises(SinkError, match=r"cannot be served .* is the port taken"):
        open_sink(f"modbus://:{port}")
    open_sink(f"modbus://:{port}").close()  # and free again


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("number,label\n0,M8\n", "row 2 is number '0', label 'M8'"),
        ("number,label\n1,M8\n1,M6\n", "row 3"),
        ("number,label\n1,M8\n2,M8\n", "row 3"),
        ("number,label\n65535,M8\n", "row 2"),
        (f"number,label\n{'9' * 5000},M8\n", "row 2"),
        ("a,b\n1,M8\n", "expected columns number and label"),
    ],
)
def test_table_that_is_wrong(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "labels.csv").write_text(text, encoding="utf-8")
    with pytest.raises(SinkError, match=message):
        open_sink(f"modbus:?labels={tmp_path}/labels.csv")


def test_table_of_all_numbers_with_the_longest_labels(tmp_path: Path) -> None:
    rows = "".join(f"{number},{number:x>1000}\r\n" for number in range(1, 65535))
    (tmp_path / "labels.csv").write_text(f"number,label\n{rows}", encoding="utf-8", newline="")
    assert len(read_labels(str(tmp_path / "labels.csv"))) == 65534


def test_table_without_end(tmp_path: Path) -> None:
    """Neither its size nor its rows cost more than those of a table may."""
    table = tmp_path / "labels.csv"
    table.touch()
    os.truncate(table, 10**12)  # which takes no room on the disk
    with pytest.raises(SinkError, match="has more than 67,108,864 bytes; expected at most 65,534 rows"):
        read_labels(str(table))
    table.write_text("number,label\n" + "".join(f"{n % 65534 + 1},x{n}\n" for n in range(65534)) + "1,y\n" * 500_000)
    tracemalloc.start()
    try:
        with pytest.raises(SinkError, match="row 65536 is number '1', label 'y'"):
            read_labels(str(table))
        assert tracemalloc.get_traced_memory()[1] < 100_000_000  # as rows it would be twice that
    finally:
        tracemalloc.stop()


def test_table_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match="the table of labels cannot be read"):
        open_sink(f"modbus:?labels={tmp_path}/labels.csv")


def test_server_that_ended_is_told(port: int) -> None:
    sink = open_sink(f"modbus://:{port}")
    loop = sink._loop._loop  # type: ignore[attr-defined]
    loop.call_soon_threadsafe(loop.stop)
    sink._loop._thread.join(HANG_S)  # type: ignore[attr-defined]
    with pytest.raises(SinkError, match="its server has ended; open the sink again"):
        sink.write(event(0))
    assert isinstance(loop, asyncio.AbstractEventLoop)
    loop.run_until_complete(sink._end())  # type: ignore[attr-defined]
    loop.close()
