"""Against asyncua's own client."""

import asyncio
import contextlib
import json
import math
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from partsight.runtime.core.errors import SinkError
from partsight.runtime.sinks import Sink, open_sink
from tests.runtime.sinks.broker import free_port
from tests.runtime.sinks.kinds import event, failed
from tests.waiting import HANG_S, wait_until

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
    sink.write(event(3))
    assert read(port)["sequence"] == 3


def test_more_clients_than_there_may_be(sink: Sink, port: int) -> None:
    async def ask() -> Any:
        async with asyncua.Client(f"opc.tcp://127.0.0.1:{port}/partsight") as first:
            with contextlib.ExitStack() as clients:
                for _ in range(7):
                    clients.enter_context(socket.create_connection(("127.0.0.1", port), 10))
                last = clients.enter_context(socket.create_connection(("127.0.0.1", port), 10))
                assert await asyncio.get_running_loop().run_in_executor(None, last.recv, 1) == b""
                return await node(first, "sequence").read_value()

    sink.write(event(4))
    assert asyncio.run(ask()) == 4


def test_last_result_and_counters(sink: Sink, port: int) -> None:
    before = read(port)
    sink.write(event(0))
    sink.write(event(7, 'Müller "M8"\n'))
    found = read(port)
    assert (found["outcome"], found["label"], found["sequence"]) == ("recognised", 'Müller "M8"\n', 7)
    assert (found["score"], found["margin"], found["latency_ms"]) == (0.75, 0.01, 12.5)
    assert (found["camera"], found["source"], found["run"]) == ("left", "usb:0", "r1")
    assert found["timestamp"].timestamp() == event(7).record.timestamp
    assert json.loads(found["record"]) == json.loads(event(7, 'Müller "M8"\n').record.to_json())
    assert found["results"] - before["results"] == found["recognised"] - before["recognised"] == 2
    sink.write(event(8, None, score=None))
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


def talk(port: int, speak: Callable[[Any], Awaitable[None]]) -> None:
    """Let a client of asyncua speak, without a session."""

    async def run() -> None:
        client = asyncua.Client(f"opc.tcp://127.0.0.1:{port}/partsight")
        await client.connect_socket()
        await client.send_hello()
        await client.open_secure_channel()
        try:
            await speak(client)
        finally:
            client.disconnect_socket()

    asyncio.run(asyncio.wait_for(run(), HANG_S))


async def send(client: Any, body: bytes) -> None:
    """Send a request that the library would not make; an answer that says no raises."""
    protocol = client.uaclient.protocol
    protocol._request_id += 1
    answer = protocol._callbackmap[protocol._request_id] = asyncio.get_running_loop().create_future()
    protocol.transport.write(protocol._connection.message_to_binary(body, request_id=protocol._request_id))
    protocol.check_answer(await asyncio.wait_for(answer, HANG_S), "")


def test_another_clients_session_cannot_be_taken(sink: Sink, port: int) -> None:
    async def speak(thief: Any) -> None:
        async with asyncua.Client(f"opc.tcp://127.0.0.1:{port}/partsight") as victim:
            thief.uaclient.protocol.authentication_token = victim.uaclient.protocol.authentication_token
            token = asyncua.ua.UserNameIdentityToken(PolicyId="username", UserName="x", Password=b"y")
            with pytest.raises(asyncua.ua.uaerrors.BadSessionIdInvalid):
                await thief.uaclient.activate_session(asyncua.ua.ActivateSessionParameters(UserIdentityToken=token))
            with pytest.raises(asyncua.ua.UaError):
                await node(thief, "label").read_value()
            await node(victim, "label").read_value()

    talk(port, speak)


def test_another_clients_subscription_cannot_be_touched(sink: Sink, port: int) -> None:
    async def run() -> None:
        url = f"opc.tcp://127.0.0.1:{port}/partsight"
        async with asyncua.Client(url) as victim, asyncua.Client(url) as other:
            subscription = await victim.create_subscription(100, None)
            (status,) = await other.uaclient.delete_subscriptions([subscription.subscription_id])
            assert not status.is_good()
            wanted = asyncua.ua.CreateMonitoredItemsParameters(SubscriptionId=subscription.subscription_id)
            with pytest.raises(asyncua.ua.uaerrors.BadSubscriptionIdInvalid):
                await other.uaclient.create_monitored_items(wanted)
            (status,) = await victim.uaclient.delete_subscriptions([subscription.subscription_id])
            status.check()

    asyncio.run(run())


def test_nothing_stays_of_a_connection_that_is_gone(sink: Sink, port: int) -> None:
    server = sink._server.iserver  # type: ignore[attr-defined]

    async def speak(client: Any) -> None:
        wanted = asyncua.ua.CreateSessionParameters(RequestedSessionTimeout=600_000)
        for _ in range(4):
            await client.uaclient.create_session(wanted)
            assert len(server._external_sessions) == 1
        with pytest.raises(asyncua.ua.uaerrors.BadTooManySessions):
            await client.uaclient.create_session(wanted)
        await client.activate_session()
        await client.uaclient.create_subscription(asyncua.ua.CreateSubscriptionParameters(), None)

    talk(port, speak)
    wait_until(lambda: not (server._external_sessions or server.subscription_service.subscriptions))


HEAD = bytes(2) + bytes(8) + b"\1\0\0\0" + bytes(4) + b"\xff\xff\xff\xff" + bytes(4)  # token, …, timeout
NOTHING = bytes(3)  # a structure of no kind
MANY = (1 << 22).to_bytes(4, "little")


def head(name: str, structure: bytes = NOTHING) -> bytes:
    from asyncua.ua.ua_binary import nodeid_to_binary

    kind = nodeid_to_binary(asyncua.ua.NodeId(getattr(asyncua.ua.ObjectIds, f"{name}_Encoding_DefaultBinary")))
    return bytes(kind) + HEAD + structure


def nulls() -> bytes:
    """A structure with a list of millions of nothings, in 15 bytes."""
    from asyncua.ua.ua_binary import nodeid_to_binary

    kind = nodeid_to_binary(asyncua.ua.NodeId(asyncua.ua.ObjectIds.LiteralOperand_Encoding_DefaultBinary))
    return bytes(kind) + b"\1" + (5).to_bytes(4, "little") + b"\x80" + MANY


def test_requests_for_memory_are_not_read(sink: Sink, port: int) -> None:
    """Each asks the library for a list of 4 million elements; a few bytes more would make it 2 thousand million."""
    back = MANY + (-4 & 0xFFFFFFFF).to_bytes(4, "little")  # texts of a length of -4: the same length is read again

    async def speak(client: Any) -> None:
        with pytest.raises(asyncua.ua.uaerrors.BadInternalError):
            await send(client, head("GetEndpointsRequest") + b"\xff\xff\xff\xff" + back)
        with pytest.raises(ConnectionError):
            await send(client, head("GetEndpointsRequest", nulls()) + bytes(12))

    async def log_in(client: Any) -> None:
        await client.create_session()
        empty = b"\xff\xff\xff\xff" * 2  # signature
        body = head("ActivateSessionRequest") + empty + bytes(8) + nulls() + empty
        with pytest.raises(asyncua.ua.uaerrors.BadNotSupported):
            await send(client, body)

    talk(port, speak)
    talk(port, log_in)
    assert read(port)["results"] >= 0


@pytest.mark.parametrize(
    "name", ["RegisterServerRequest", "CallRequest", "HistoryReadRequest", "TransferSubscriptionsRequest"]
)
def test_services_that_a_reader_does_not_need(sink: Sink, port: int, name: str) -> None:
    async def speak(client: Any) -> None:
        with pytest.raises(asyncua.ua.uaerrors.BadServiceUnsupported):
            await send(client, head(name) + bytes(100))

    talk(port, speak)


def test_buffers_of_a_byte(port: int, sink: Sink) -> None:
    with socket.create_connection(("127.0.0.1", port), 10) as client:
        client.sendall(b"HELF" + struct.pack("<7I", 32, 0, 1, 1, 0, 0, 0) + bytes(4))
        assert client.recv(1) == b""


def test_what_a_session_may_have(sink: Sink, port: int) -> None:
    errors = asyncua.ua.uaerrors

    async def run() -> None:
        async with asyncua.Client(f"opc.tcp://127.0.0.1:{port}/partsight") as client:
            label = node(client, "label")
            with pytest.raises(errors.BadTooManyOperations):
                await client.uaclient.read_attributes([label.nodeid] * 201, asyncua.ua.AttributeIds.Value)
            limit = asyncua.ua.ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerRead
            assert await client.get_node(asyncua.ua.NodeId(limit)).read_value() == 200
            with pytest.raises(errors.BadTooManyOperations):
                await client.browse_nodes([label] * 21)
            with pytest.raises(errors.BadTooManyOperations):
                await label.get_child(["2:x"] * 9)
            for asked, revised in ((0.0, 50.0), (float("nan"), 50.0), (1e300, 3.6e6)):
                wanted = asyncua.ua.CreateSubscriptionParameters(RequestedPublishingInterval=asked)
                given = await client.uaclient.create_subscription(wanted, None)
                assert given.RevisedPublishingInterval == revised
            first = await client.create_subscription(100, None)
            with pytest.raises(errors.BadTooManySubscriptions):
                await client.create_subscription(100, None)
            await first.subscribe_data_change([label] * 50)
            with pytest.raises(errors.BadTooManyMonitoredItems):
                await first.subscribe_data_change(label)
            for asked, revised in ((0, 20), (10_000, 20), (7, 7)):  # 0: without bound, to the library
                parameters = asyncua.ua.MonitoringParameters(QueueSize=asked)
                item = asyncua.ua.MonitoredItemModifyRequest(111 + 1, parameters)
                wanted = asyncua.ua.ModifyMonitoredItemsParameters(first.subscription_id, ItemsToModify=[item])
                (given,) = await client.uaclient.modify_monitored_items(wanted)
                assert given.RevisedQueueSize == revised

    asyncio.run(run())


def test_a_clients_nonsense_does_not_fill_the_log(sink: Sink, port: int, caplog: pytest.LogCaptureFixture) -> None:
    async def speak(client: Any) -> None:
        for _ in range(50):
            with pytest.raises(asyncua.ua.UaError):
                await send(client, head("CallRequest"))
            with pytest.raises(asyncua.ua.UaError):
                await send(client, head("ReadRequest") + bytes(20))  # without a session

    talk(port, speak)
    assert len([record for record in caplog.records if not record.name.startswith("asyncua.client")]) < 10


def test_port_that_is_taken(sink: Sink, port: int) -> None:
    with pytest.raises(SinkError, match=r"cannot be served .* is the port taken\?"):
        open_sink(f"opcua://:{port}")
