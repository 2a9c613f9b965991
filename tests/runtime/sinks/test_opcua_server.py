"""The server against clients that want more than to read."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest

from partsight.runtime.sinks import Sink, open_sink
from partsight.runtime.sinks.allow import MAX_CONNECTIONS, AllowList
from partsight.runtime.sinks.opcua_identity import Identity, Readers
from tests.runtime.sinks.broker import free_port
from tests.runtime.sinks.kinds import event
from tests.waiting import HANG_S

pytest.importorskip("asyncua")
import asyncua
from asyncua.server.internal_session import SessionState
from asyncua.ua import uaerrors
from asyncua.ua.ua_binary import nodeid_to_binary

from partsight.runtime.sinks.opcua_server import ReadOnlyServer

HELLO = b"HELF" + struct.pack("<7I", 32, 0, 65535, 65535, 0, 0, 0) + bytes(4)


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module", autouse=True)
def sink(port: int) -> Iterator[Sink]:
    """One for all: it takes seconds to start."""
    with open_sink(f"opcua://:{port}?allow=127.0.0.1") as opened:
        opened.write(event(3))
        yield opened


def url(port: int) -> str:
    return f"opc.tcp://127.0.0.1:{port}/partsight"


@contextlib.asynccontextmanager
async def channel(port: int) -> AsyncIterator[Any]:
    """A client of asyncua that has no session."""
    client = asyncua.Client(url(port), timeout=HANG_S)
    await client.connect_socket()
    await client.send_hello()
    await client.open_secure_channel()
    try:
        yield client
    finally:
        client.disconnect_socket()


def talk(port: int, speak: Callable[[Any], Awaitable[None]]) -> None:
    """Let a client of asyncua speak, without a session."""

    async def run() -> None:
        async with channel(port) as client:
            await speak(client)

    asyncio.run(asyncio.wait_for(run(), HANG_S))


def talk_in_session(port: int, speak: Callable[[Any], Awaitable[None]]) -> None:
    async def with_session(client: Any) -> None:
        await client.create_session()
        await client.activate_session()
        await speak(client)

    talk(port, with_session)


async def read_sequence(client: Any) -> int:
    return int(await client.get_node("ns=2;s=partsight.sequence").read_value())


async def send(client: Any, body: bytes) -> None:
    """Send a request that the library would not make; a refusal raises."""
    protocol = client.uaclient.protocol
    protocol._request_id += 1
    answer = protocol._callbackmap[protocol._request_id] = asyncio.get_running_loop().create_future()
    protocol.transport.write(protocol._connection.message_to_binary(body, request_id=protocol._request_id))
    protocol.check_answer(await asyncio.wait_for(answer, HANG_S), "")


async def wait_for_end(client: Any) -> None:
    while is_open(client):
        await asyncio.sleep(0.002)


def is_open(client: Any) -> bool:
    transport = client.uaclient.protocol.transport
    return transport is not None and not transport.is_closing()


def connect(port: int, host: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), HANG_S, source_address=(host, 0))


def is_ended(client: socket.socket) -> bool:
    try:
        return client.recv(1) == b""
    except ConnectionError:
        return True


def test_only_hosts_of_the_list_may_connect(port: int) -> None:
    with connect(port, "127.0.0.2") as other:
        assert is_ended(other)
    with connect(port) as listed:
        listed.sendall(HELLO)
        assert listed.recv(3) == b"ACK"


def test_connections_are_bounded(port: int) -> None:
    async def speak(first: Any) -> None:
        with contextlib.ExitStack() as clients:
            for _ in range(MAX_CONNECTIONS - 1):
                clients.enter_context(connect(port)).sendall(HELLO)
            last = clients.enter_context(connect(port))
            assert await asyncio.to_thread(is_ended, last)
        assert await read_sequence(first) == 3

    talk_in_session(port, speak)


@pytest.mark.parametrize("kind", [b"HELF", b"MSGF", b"OPNF"])
def test_a_message_without_end_is_not_kept(port: int, kind: bytes) -> None:
    with connect(port) as client:
        client.sendall(kind + b"\xff\xff\xff\xff" + bytes(8))  # a head that promises 4 GB
        with pytest.raises(OSError):
            for _ in range(1000):
                client.sendall(bytes(2**20))


def test_buffers_of_a_byte_are_refused(port: int) -> None:
    with connect(port) as client:
        client.sendall(b"HELF" + struct.pack("<7I", 32, 0, 1, 1, 0, 0, 0) + bytes(4))
        assert is_ended(client)


def test_answers_that_nobody_reads_end_the_connection(port: int) -> None:
    value = asyncua.ua.ReadValueId(asyncua.ua.NodeId("partsight.record", 2), asyncua.ua.AttributeIds.Value)
    request = asyncua.ua.ReadRequest()
    request.Parameters.NodesToRead = [value] * 200

    async def speak(client: Any) -> None:
        client.uaclient.protocol.transport.pause_reading()
        async with asyncua.Client(url(port)) as other:
            while is_open(client):
                answer = asyncio.ensure_future(client.uaclient.protocol.send_request(request, timeout=HANG_S))
                await read_sequence(other)  # by then the server has worked on the request
                answer.cancel()

    talk_in_session(port, speak)


def test_another_clients_session_cannot_be_taken(port: int) -> None:
    async def speak(thief: Any) -> None:
        async with asyncua.Client(url(port)) as victim:
            thief.uaclient.protocol.authentication_token = victim.uaclient.protocol.authentication_token
            token = asyncua.ua.UserNameIdentityToken(PolicyId="username", UserName="x", Password=b"y")
            with pytest.raises(uaerrors.BadSessionIdInvalid):
                await thief.uaclient.activate_session(asyncua.ua.ActivateSessionParameters(UserIdentityToken=token))
            with pytest.raises(asyncua.ua.UaError):
                await read_sequence(thief)
            assert await read_sequence(victim) == 3

    talk(port, speak)


HEAD = bytes(2) + bytes(8) + b"\1\0\0\0" + bytes(4) + b"\xff\xff\xff\xff" + bytes(4)  # token, …, timeout
NOTHING = bytes(3)  # a structure of no type
MANY = (1 << 22).to_bytes(4, "little")


def head(name: str, structure: bytes = NOTHING) -> bytes:
    kind = nodeid_to_binary(asyncua.ua.NodeId(getattr(asyncua.ua.ObjectIds, f"{name}_Encoding_DefaultBinary")))
    return bytes(kind) + HEAD + structure


def nulls() -> bytes:
    """A structure with a list of millions of nothings, in 15 bytes."""
    kind = nodeid_to_binary(asyncua.ua.NodeId(asyncua.ua.ObjectIds.LiteralOperand_Encoding_DefaultBinary))
    return bytes(kind) + b"\1" + (5).to_bytes(4, "little") + b"\x80" + MANY


def test_requests_for_memory_are_not_decoded(port: int) -> None:
    """Each asks the library for a list of 4 million elements; a few bytes more would make it 2 thousand million."""
    back = MANY + (-4 & 0xFFFFFFFF).to_bytes(4, "little")  # texts of length -4: the same length is read again

    async def speak(client: Any) -> None:
        with pytest.raises(uaerrors.BadInternalError):
            await send(client, head("GetEndpointsRequest") + b"\xff\xff\xff\xff" + back)
        with pytest.raises(ConnectionError):
            await send(client, head("GetEndpointsRequest", nulls()) + bytes(12))

    async def log_in(client: Any) -> None:
        await client.create_session()
        empty = b"\xff\xff\xff\xff" * 2  # signature
        body = head("ActivateSessionRequest") + empty + bytes(8) + nulls() + empty
        with pytest.raises(uaerrors.BadNotSupported):
            await send(client, body)

    async def subscribe(client: Any) -> None:
        value = bytes(2) + b"\x0d\0\0\0" + b"\xff\xff\xff\xff" + bytes(2) + b"\xff\xff\xff\xff"
        item = value + bytes(4) + bytes(12) + nulls() + bytes(5)
        with pytest.raises(uaerrors.BadNotSupported):
            await send(client, head("CreateMonitoredItemsRequest") + bytes(8) + b"\1\0\0\0" + item)

    talk(port, speak)
    talk(port, log_in)
    talk_in_session(port, subscribe)


@pytest.mark.parametrize(
    "name", ["RegisterServerRequest", "CallRequest", "HistoryReadRequest", "TransferSubscriptionsRequest"]
)
def test_services_that_a_reader_does_not_need(port: int, name: str) -> None:
    async def speak(client: Any) -> None:
        with pytest.raises(uaerrors.BadServiceUnsupported):
            await send(client, head(name) + bytes(100))

    talk(port, speak)


def test_requests_are_bounded(port: int) -> None:
    async def speak(client: Any) -> None:
        label = client.get_node("ns=2;s=partsight.label")
        with pytest.raises(uaerrors.BadTooManyOperations):
            await client.uaclient.read_attributes([label.nodeid] * 201, asyncua.ua.AttributeIds.Value)
        limit = asyncua.ua.ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerRead
        assert await client.get_node(asyncua.ua.NodeId(limit)).read_value() == 200
        with pytest.raises(uaerrors.BadTooManyOperations):
            await client.browse_nodes([label] * 21)
        with pytest.raises(uaerrors.BadTooManyOperations):
            await label.get_child(["2:x"] * 9)

    talk_in_session(port, speak)


def test_subscriptions_are_bounded(port: int) -> None:
    async def speak(client: Any) -> None:
        label = client.get_node("ns=2;s=partsight.label")
        ids = set()
        for asked, revised in ((0.0, 50.0), (float("nan"), 50.0), (1e300, 3.6e6)):
            wanted = asyncua.ua.CreateSubscriptionParameters(RequestedPublishingInterval=asked)
            made = await client.uaclient.create_subscription(wanted, None)
            assert made.RevisedPublishingInterval == revised
            ids.add(made.SubscriptionId)
        assert len(ids) == 3
        subscription = await client.create_subscription(100, None)
        (number, *_) = await subscription.subscribe_data_change([label] * 1000)
        with pytest.raises(uaerrors.BadTooManyMonitoredItems):
            await subscription.subscribe_data_change(label)
        for asked, revised in ((0, 20), (10_000, 20), (7, 7)):  # 0: without bound, to the library
            parameters = asyncua.ua.MonitoringParameters(QueueSize=asked)
            item = asyncua.ua.MonitoredItemModifyRequest(number, parameters)
            changed = asyncua.ua.ModifyMonitoredItemsParameters(subscription.subscription_id, ItemsToModify=[item])
            (result,) = await client.uaclient.modify_monitored_items(changed)
            assert result.RevisedQueueSize == revised

    talk_in_session(port, speak)


def test_a_clients_nonsense_does_not_fill_the_log(port: int, caplog: pytest.LogCaptureFixture) -> None:
    async def speak(client: Any) -> None:
        for _ in range(50):
            with pytest.raises(asyncua.ua.UaError):
                await send(client, head("CallRequest"))
            with pytest.raises(asyncua.ua.UaError):
                await send(client, head("ReadRequest") + bytes(20))  # without a session

    talk(port, speak)
    assert len([record for record in caplog.records if not record.name.startswith("asyncua.client")]) < 10


def test_nothing_stays_of_a_connection_that_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        port, sessions = free_port(), []
        server = ReadOnlyServer(
            ["127.0.0.1"], port, Readers(Identity()), AllowList("", ""), is_encrypted=False, idle_s=600
        )
        make = server.iserver.create_session
        monkeypatch.setattr(
            server.iserver, "create_session", lambda *a, **k: (sessions.append(make(*a, **k)), sessions[-1])[1]
        )
        await server.init()
        server.set_endpoint(url(port))
        await server.start()
        subscriptions = server.iserver.subscription_service.subscriptions
        async with channel(port) as client:
            for _ in range(3):  # one after another on one connection
                await client.create_session()
            await client.activate_session()
            await client.uaclient.create_subscription(asyncua.ua.CreateSubscriptionParameters(), None)
            states = [session.state for session in sessions]
            assert states == [SessionState.Closed] * 2 + [SessionState.Activated]
            assert len(subscriptions) == 1
        while subscriptions or sessions[-1].state != SessionState.Closed:
            await asyncio.sleep(0.002)
        server.iserver.min_session_timeout_ms = server.iserver.max_session_timeout_ms = 100.0
        async with channel(port) as client:
            with contextlib.suppress(asyncua.ua.UaError, ConnectionError):  # on a busy machine it is idle even before
                await client.create_session()
                await client.activate_session()
            await wait_for_end(client)
        await server.stop()

    asyncio.run(asyncio.wait_for(run(), HANG_S))


def test_passwords_in_an_encryption_that_reveals_them() -> None:
    server = ReadOnlyServer([], 0, Readers(Identity()), AllowList("", ""), is_encrypted=True, idle_s=60)
    weak = "http://www.w3.org/2001/04/xmlenc#rsa-1_5"
    token = asyncua.ua.UserNameIdentityToken(UserName="x", Password=b"y" * 256, EncryptionAlgorithm=weak)
    with pytest.raises(asyncua.common.utils.ServiceError) as caught:
        server.iserver.decrypt_user_token(None, token)
    assert caught.value.code == asyncua.ua.StatusCodes.BadIdentityTokenRejected
