"""Against pymodbus' own client, as a PLC would ask."""

import asyncio
import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from partsight.runtime.errors import SinkError
from partsight.runtime.sinks import open_sink
from partsight.runtime.sinks.registers import read_labels
from tests.runtime.sinks.broker import free_port
from tests.runtime.sinks.kinds import failed, told

pytest.importorskip("pymodbus")
from pymodbus.client import ModbusTcpClient


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def plc(port: int) -> Iterator[ModbusTcpClient]:
    with ModbusTcpClient("127.0.0.1", port=port, timeout=5) as client:
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
        sink.write(told(70_000, score=0.75, margin=-0.01))
        found = plc.read_input_registers(0, count=20).registers
        assert found == plc.read_holding_registers(0, count=20).registers
        assert found[:6] == [1, 1, 17, 2, 7500, 65536 - 100]
        assert long(found, 6) == 70_000
        sink.write(told(1, "a,b"))
        assert plc.read_input_registers(2, count=1).registers == [18]
        sink.write(told(2, "another", camera="top", score=float("nan")))
        assert plc.read_input_registers(1, count=4).registers == [1, 65535, 0, 0x8000]
        sink.write(told(3, None, score=9.9))
        assert plc.read_input_registers(1, count=4).registers == [2, 0, 2, 32767]
        sink.write(failed(4))
        found = plc.read_input_registers(0, count=20).registers
        assert found[1] == 3
        assert [long(found, at) for at in (8, 10, 12, 14, 16)] == [5, 3, 1, 1, 4]


def test_handshake(port: int, plc: ModbusTcpClient) -> None:
    with open_sink(f"modbus://:{port}?ack_s=30") as sink:
        connect(plc)
        assert not coil(plc)
        sink.write(told(0))
        assert coil(plc)
        second = threading.Thread(target=sink.write, args=(told(1),))
        second.start()
        assert long(plc.read_input_registers(6, count=2).registers, 0) == 0  # the first is shown until it was taken
        assert not plc.write_coil(0, False).isError()
        second.join(10)
        assert not second.is_alive()
        assert coil(plc)
        assert long(plc.read_input_registers(6, count=2).registers, 0) == 1
        assert not plc.write_coils(0, [False]).isError()
        assert not coil(plc)
        assert long(plc.read_input_registers(16, count=2).registers, 0) == 0


def test_coil_that_is_not_cleared_is_counted(port: int, plc: ModbusTcpClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), open_sink(f"modbus://:{port}?ack_s=0.1") as sink:
        connect(plc)
        started = time.monotonic()
        for sequence in range(3):
            sink.write(told(sequence, None))
        assert 0.2 <= time.monotonic() - started < 5
        found = plc.read_input_registers(0, count=20).registers
        assert (long(found, 6), long(found, 16)) == (2, 2)
        assert coil(plc)
        plc.write_coil(0, False)
        sink.write(told(3, None))
    first, again = (record.getMessage() for record in caplog.records if record.name == "partsight.sinks")
    assert "did not clear coil 0 within 0.1 s; results before are overwritten until it does" in first
    assert "clears coil 0 again; 2 results waited in vain" in again


def test_coil_that_is_not_cleared_as_an_error(port: int, plc: ModbusTcpClient) -> None:
    with open_sink(f"modbus://:{port}?ack_s=0&not_cleared=error") as sink:
        connect(plc)
        sink.write(told(0))
        with pytest.raises(SinkError, match="did not clear coil 0 within 0 s; the result before stays shown"):
            sink.write(told(1))
        found = plc.read_input_registers(0, count=20).registers
        assert (long(found, 6), long(found, 8), long(found, 16)) == (0, 1, 1)
        plc.write_coil(0, False)
        sink.write(told(1))
        assert long(plc.read_input_registers(6, count=2).registers, 0) == 1


def test_plc_can_change_nothing_else(port: int, plc: ModbusTcpClient) -> None:
    with open_sink(f"modbus://:{port}") as sink:
        connect(plc)
        sink.write(told(0))
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


def test_table_of_all_numbers(tmp_path: Path) -> None:
    rows = "".join(f"{number},part {number}\n" for number in range(1, 65535))
    (tmp_path / "labels.csv").write_text(f"number,label\n{rows}", encoding="utf-8")
    assert len(read_labels(str(tmp_path / "labels.csv"))) == 65534


def test_table_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match="the table of labels cannot be read"):
        open_sink(f"modbus:?labels={tmp_path}/labels.csv")


def test_server_that_ended_is_told(port: int) -> None:
    sink = open_sink(f"modbus://:{port}")
    loop = sink._loop._loop  # type: ignore[attr-defined]
    loop.call_soon_threadsafe(loop.stop)
    sink._loop._thread.join(10)  # type: ignore[attr-defined]
    with pytest.raises(SinkError, match="its server has ended; open the sink again"):
        sink.write(told(0))
    assert isinstance(loop, asyncio.AbstractEventLoop)
    loop.run_until_complete(sink._server.shutdown())  # type: ignore[attr-defined]
    loop.close()
