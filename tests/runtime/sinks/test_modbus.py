"""The sink against pymodbus' client, as a PLC would ask."""

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from partsight.runtime.core.errors import SinkError
from partsight.runtime.sinks import check_address, open_sink
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
        assert found[18:] == [1, 0]
        assert long(found, 6) == 70_000
        sink.write(event(1, "a,b"))
        assert plc.read_input_registers(2, count=1).registers == [18]
        sink.write(event(2, "another", camera="top", score=float("nan")))
        assert plc.read_input_registers(1, count=4).registers == [1, 65535, 0, 0x8000]
        sink.write(event(3, None, score=9.9))
        assert plc.read_input_registers(1, count=4).registers == [2, 0, 2, 32767]
        assert plc.read_input_registers(18, count=1).registers == [2]
        sink.write(event(3, None, reason="two_parts_fit"))
        assert plc.read_input_registers(18, count=1).registers == [3]
        sink.write(failed(4))
        found = plc.read_input_registers(0, count=20).registers
        assert (found[1], found[18]) == (3, 0)
        assert [long(found, at) for at in (8, 10, 12, 14, 16)] == [6, 3, 2, 1, 5]


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
    waits: list[float] = []
    wait_for = threading.Condition.wait_for
    monkeypatch.setattr(threading.Condition, "wait_for", lambda *given: (waits.append(given[2]), wait_for(*given))[1])
    with open_sink(f"modbus://:{port}?ack_s=0.1") as sink:
        connect(plc)
        for sequence in range(100):
            sink.write(event(sequence, None))
        assert waits == [0.1] * 4 + [0] * 96  # the first result found the coil cleared; after three more the PLC is off
        found = plc.read_input_registers(0, count=20).registers
        assert (long(found, 6), long(found, 16)) == (99, 99)
        assert coil(plc)
        plc.write_coil(0, False)
        sink.write(event(100, None))
    assert [record.event for record in caplog.records if hasattr(record, "event")] == [
        "plc_waited_for",
        "plc_recovered",
    ]


def test_coil_that_is_not_cleared_as_an_error(port: int, plc: ModbusTcpClient) -> None:
    with open_sink(f"modbus://:{port}?ack_s=0&not_cleared=error") as sink:
        connect(plc)
        sink.write(event(0))
        with pytest.raises(SinkError, match="coil 0"):
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


def test_a_part_that_is_not_in_the_table_is_logged_once(
    port: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "labels.csv").write_text("number,label\n1,M8x40\n", encoding="utf-8")
    with open_sink(f"modbus://:{port}?ack_s=0&labels={tmp_path}/labels.csv") as sink:
        for label in ("M8x40", "M6", "M6", "M5"):
            sink.write(event(0, label))
    unlisted = [record.getMessage() for record in caplog.records if getattr(record, "event", "") == "part_unlisted"]
    assert [("M6" in text, "M5" in text) for text in unlisted] == [(True, False), (False, True)]


def test_a_server_that_others_can_reach_is_logged(port: int, caplog: pytest.LogCaptureFixture) -> None:
    for address in (f"modbus://:{port}?allow=10.0.0.5", f"modbus://0.0.0.0:{port}?allow=10.0.0.5"):
        open_sink(address).close()
    (record,) = [record for record in caplog.records if getattr(record, "event", "") == "server_exposed"]
    assert record.sink == f"modbus://0.0.0.0:{port}"  # type: ignore[attr-defined]
    assert "10.0.0.5" in record.getMessage()


def test_host_without_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(SinkError, match="modbus://plc:5020"):
        open_sink("modbus://plc")


def test_port_that_is_taken(port: int) -> None:
    with open_sink(f"modbus://:{port}"), pytest.raises(SinkError, match=str(port)):
        open_sink(f"modbus://:{port}")
    open_sink(f"modbus://:{port}").close()  # and free again


@pytest.mark.parametrize("option", ["allow=plc", "cameras=left,left", "ack_s=-1", "idle_s=0"])
def test_options_are_checked_without_opening(option: str) -> None:
    with pytest.raises(SinkError, match=option.partition("=")[0]):
        check_address(f"modbus:?{option}")


def test_table_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match=r"labels\.csv"):
        open_sink(f"modbus:?labels={tmp_path}/labels.csv")
