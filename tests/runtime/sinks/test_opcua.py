"""Against asyncua's own client."""

import asyncio
import contextlib
import json
import math
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from partsight.runtime.errors import SinkError
from partsight.runtime.sinks import Sink, open_sink
from tests.runtime.sinks.broker import free_port
from tests.runtime.sinks.kinds import failed, told

asyncua = pytest.importorskip("asyncua")


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def sink(port: int) -> Iterator[Sink]:
    """One for all: it takes seconds to start."""
    with open_sink(f"opcua://:{port}") as opened:
        yield opened


def node(client: Any, name: str) -> Any:
    return client.get_node(f"ns=2;s=partsight.{name}")


def read(port: int) -> dict[str, Any]:
    async def ask() -> dict[str, Any]:
        async with asyncua.Client(f"opc.tcp://127.0.0.1:{port}/partsight") as client:
            assert await client.get_namespace_index("urn:partsight:results") == 2
            folder = client.get_node("ns=2;s=partsight")
            nodes = await folder.get_children()
            names = [(await one.read_browse_name()).Name for one in nodes]
            return dict(zip(names, await client.read_values(nodes), strict=True))

    return asyncio.run(ask())


def test_a_client_that_sends_without_end_is_hung_up_on(sink: Sink, port: int) -> None:
    """The header promises 4 GB, which the server would keep."""
    for kind in (b"HELF", b"MSGF", b"OPNF"):
        with socket.create_connection(("127.0.0.1", port), 10) as client:
            client.sendall(kind + b"\xff\xff\xff\xff" + bytes(8))
            with pytest.raises(OSError):
                for _ in range(1000):
                    client.sendall(bytes(2**20))
    sink.write(told(3))
    assert read(port)["sequence"] == 3


def test_more_clients_than_there_may_be(sink: Sink, port: int) -> None:
    from partsight.runtime.sinks.opcua_server import MOST_CONNECTIONS

    with contextlib.ExitStack() as clients:
        for _ in range(MOST_CONNECTIONS + 10):
            clients.enter_context(socket.create_connection(("127.0.0.1", port), 10))
        last = clients.enter_context(socket.create_connection(("127.0.0.1", port), 10))
        assert last.recv(1) == b""
    sink.write(told(4))
    for _ in range(100):  # until the server has seen that they are gone
        with contextlib.suppress(OSError, asyncio.TimeoutError):
            assert read(port)["sequence"] == 4
            return
    raise AssertionError("no client is answered any more")


def test_last_result_and_counters(sink: Sink, port: int) -> None:
    before = read(port)
    sink.write(told(0))
    sink.write(told(7, 'Müller "M8"\n'))
    found = read(port)
    assert (found["outcome"], found["label"], found["sequence"]) == ("recognised", 'Müller "M8"\n', 7)
    assert (found["score"], found["margin"], found["latency_ms"]) == (0.75, 0.01, 12.5)
    assert (found["camera"], found["source"], found["run"]) == ("left", "usb:0", "r1")
    assert found["timestamp"].timestamp() == told(7).record.timestamp
    assert json.loads(found["record"]) == json.loads(told(7, 'Müller "M8"\n').record.to_json())
    assert found["results"] - before["results"] == found["recognised"] - before["recognised"] == 2
    sink.write(told(8, None, score=None))
    sink.write(failed(9))
    found = read(port)
    assert (found["outcome"], found["label"], found["error"]) == ("failed", "", failed(9).record.error)
    assert math.isnan(found["score"])
    counts = [found[name] - before[name] for name in ("recognised", "unknown", "failed", "results")]
    assert counts == [2, 1, 1, 4]


def test_subscription_to_the_count_sees_the_whole_result(sink: Sink, port: int) -> None:
    async def watch() -> list[tuple[int, int]]:
        loop = asyncio.get_running_loop()
        came: asyncio.Queue[int] = asyncio.Queue()

        class Handler:
            def datachange_notification(self, _node: Any, value: int, _data: Any) -> None:
                came.put_nowait(value)

        seen = []
        async with asyncua.Client(f"opc.tcp://127.0.0.1:{port}/partsight") as client:
            subscription = await client.create_subscription(10, Handler())
            await subscription.subscribe_data_change(node(client, "results"))
            first = await came.get()
            for sequence in (100, 101, 102):
                await loop.run_in_executor(None, sink.write, told(sequence))
                count = await asyncio.wait_for(came.get(), 10)
                seen.append((count - first, await node(client, "sequence").read_value()))
            await subscription.delete()
        return seen

    assert asyncio.run(watch()) == [(1, 100), (2, 101), (3, 102)]


def test_clients_can_change_nothing(sink: Sink, port: int) -> None:
    async def change(what: str) -> None:
        async with asyncua.Client(f"opc.tcp://127.0.0.1:{port}/partsight") as client:
            if what == "write":
                await node(client, "label").write_value("mine")
            elif what == "delete":
                await client.delete_nodes([node(client, "label")])
            else:
                await client.nodes.objects.add_folder("ns=2;s=mine", "mine")

    sink.write(told(0))
    for what in ("write", "delete", "add"):
        with pytest.raises(asyncua.ua.UaStatusCodeError):
            asyncio.run(change(what))
    assert read(port)["label"] == "M8x40"


def test_port_that_is_taken(sink: Sink, port: int) -> None:
    with pytest.raises(SinkError, match=r"cannot be served .* is the port taken\?"):
        open_sink(f"opcua://:{port}")
