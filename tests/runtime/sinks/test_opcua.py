"""The sink against asyncua's client."""

import asyncio
import json
import math
from collections.abc import Iterator
from typing import Any

import pytest

from partsight.runtime.core.errors import SinkError
from partsight.runtime.sinks import Sink, open_sink
from tests.runtime.sinks.broker import free_port
from tests.runtime.sinks.kinds import event, failed
from tests.waiting import HANG_S

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


def test_last_result_and_counters(sink: Sink, port: int) -> None:
    before = read(port)
    sink.write(event(0))
    sink.write(event(7, 'Müller "M8"\n'))
    found = read(port)
    assert (found["outcome"], found["label"], found["sequence"]) == ("recognised", 'Müller "M8"\n', 7)
    assert (found["score"], found["margin"], found["latency_ms"]) == (0.75, 0.01, 12.5)
    assert (found["reason"], found["threshold"], found["least_margin"]) == ("recognised", 0.5, 0.04)
    assert (found["camera"], found["source"], found["run"]) == ("left", "usb:0", "r1")
    assert found["timestamp"].timestamp() == event(7).record.timestamp
    assert json.loads(found["record"]) == json.loads(event(7, 'Müller "M8"\n').record.to_json())
    assert found["results"] - before["results"] == found["recognised"] - before["recognised"] == 2
    sink.write(event(8, None, score=None))
    sink.write(failed(9))
    found = read(port)
    assert (found["outcome"], found["label"], found["error"]) == ("failed", "", failed(9).record.error)
    assert math.isnan(found["score"]) and math.isnan(found["threshold"])
    assert found["reason"] == ""
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
                await loop.run_in_executor(None, sink.write, event(sequence))
                count = await asyncio.wait_for(came.get(), HANG_S)
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

    sink.write(event(0))
    for what in ("write", "delete", "add"):
        with pytest.raises(asyncua.ua.UaStatusCodeError):
            asyncio.run(change(what))
    assert read(port)["label"] == "M8x40"


def test_port_that_is_taken(sink: Sink, port: int) -> None:
    with pytest.raises(SinkError, match=str(port)):
        open_sink(f"opcua://:{port}")
