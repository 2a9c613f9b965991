"""asyncua's server, of which a client can read and subscribe, within bounds, and nothing else.

The library offers more to whoever connects: other clients' sessions and subscriptions, a channel without encryption
beside the encrypted ones, and as much memory and time as is asked for. What is overridden here closes that;
docs/security.md says what for.
"""

import asyncio
import time
from typing import Any

from asyncua import Server, ua
from asyncua.common.connection import TransportLimits
from asyncua.common.utils import Buffer, ServiceError
from asyncua.server.binary_server_asyncio import BinaryServer, OPCUAProtocol
from asyncua.server.uaprocessor import UaProcessor

from partsight.runtime.sinks.guard import Connection
from partsight.runtime.sinks.opcua_requests import (
    CREATE_SESSION,
    DISCOVERY,
    MAX_CHUNK_BYTES,
    MAX_MESSAGE_BYTES,
    StrictBuffer,
    check_hello,
    check_request,
    read_head,
)
from partsight.runtime.sinks.opcua_session import MAX_BROWSED, MAX_ITEMS, MAX_READ, BoundedInternals, BoundedSession

WRONG_LOGIN_S = 0.2
"""What a wrong password costs a host of its share: beyond the first few, one in 2 s."""

_MAX_SESSIONS = 4  # that a connection may ask for, one after another

_LIMITS = {
    ua.ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerRead: MAX_READ,
    ua.ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerBrowse: MAX_BROWSED,
    ua.ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerTranslateBrowsePathsToNodeIds: MAX_BROWSED,
    ua.ObjectIds.Server_ServerCapabilities_OperationLimits_MaxMonitoredItemsPerCall: MAX_ITEMS,
}
"""FrameEvent to clients, so that they ask for more in parts."""


class BoundedServer(Server):
    """The server. Like its base it is told its endpoint, certificate and policies before `start`."""

    def __init__(self, users: Any, *, is_encrypted: bool, idle_s: float) -> None:
        """Take the rules.

        Args:
            users: says who may activate a session, as the library's `UserManager`.
            is_encrypted: whether channels without encryption are for discovery alone.
            idle_s: longest time that a session lives without a request.
        """
        super().__init__(BoundedInternals(users, idle_s))
        self.application_type = ua.ApplicationType.Server
        self.product_uri = self.manufacturer_name = "urn:partsight"
        self.limits = TransportLimits(MAX_CHUNK_BYTES, MAX_CHUNK_BYTES, 16, MAX_MESSAGE_BYTES)
        self._is_encrypted = is_encrypted

    def protocol(self, connection: Connection) -> OPCUAProtocol:
        """Return the protocol of a connection, for a `Guard`."""
        server: BinaryServer = self.bserver
        return _Protocol(connection, self._is_encrypted, server, self._policies)

    async def listen(self, listener: asyncio.Server) -> None:
        """Begin to answer, in place of `start`, which has no place for a guard.

        Args:
            listener: whose connections are a guard's, and have `protocol`.

        Raises:
            OSError: it cannot listen.
        """
        for node, limit in _LIMITS.items():
            await self.get_node(ua.NodeId(node)).write_value(ua.Variant(limit, ua.VariantType.UInt32))
        await self._setup_server_nodes()
        await self.iserver.start()
        self.bserver = _Listener(self.iserver, "", 0, self.limits)
        await self.bserver.take(listener)


class _Listener(BinaryServer):
    """Keeps the connections of a listener that was made elsewhere."""

    async def take(self, listener: asyncio.Server) -> None:
        self._server = listener
        self.cleanup_task = asyncio.create_task(self._close_task_loop())
        await listener.start_serving()


class _Protocol(OPCUAProtocol):
    """Has the processor below."""

    def __init__(self, gate: Connection, is_encrypted: bool, server: BinaryServer, policies: list[Any]) -> None:
        super().__init__(server.iserver, policies, server.clients, server.closing_tasks, server.limits)
        self._gate, self._is_encrypted = gate, is_encrypted

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.processor = _Processor(self._gate, self._is_encrypted, self.iserver, transport, self.limits)
        self.processor.set_policies(self.policies)


class _Processor(UaProcessor):
    """Lets through what a reader needs, ends connections that send what cannot be read, and counts the work."""

    def __init__(self, gate: Connection, is_encrypted: bool, *rest: Any) -> None:
        super().__init__(*rest)
        self._gate, self._is_encrypted, self._made = gate, is_encrypted, 0

    async def process(self, header: Any, body: Buffer) -> bool:
        started = time.thread_time()
        try:
            if header.MessageType == ua.MessageType.Hello:
                check_hello(body)
            goes_on: bool = await super().process(header, body)
        except Exception as error:  # noqa: BLE001 (the library would write it into the log, each time, and go on)
            self._gate.refuse(f"its message cannot be read ({type(error).__name__})")
            return False
        finally:
            self._gate.answered(time.thread_time() - started)
        return goes_on

    def open_secure_channel(self, algohdr: Any, seqhdr: Any, body: Buffer) -> None:
        read_head(StrictBuffer(bytes(body)))
        super().open_secure_channel(algohdr, seqhdr, StrictBuffer(bytes(body)))

    async def process_message(self, seqhdr: Any, body: Buffer) -> bool:
        request = StrictBuffer(bytes(body))
        kind, number = read_head(request)
        try:
            self._check(kind, request)
            if kind == CREATE_SESSION and self.session is not None:
                await self.session.close_session()  # or nobody would ever
        except ServiceError as error:
            fault = ua.ServiceFault()
            fault.ResponseHeader.ServiceResult = ua.StatusCode(error.code)
            self.send_response(number, seqhdr, fault)
            return True
        goes_on: bool = await super().process_message(seqhdr, StrictBuffer(bytes(body)))
        if kind == CREATE_SESSION and isinstance(self.session, BoundedSession):
            self.session.on_refused = self._on_refused_login
        return goes_on

    def _check(self, kind: Any, request: StrictBuffer) -> None:
        mode = self._connection.security_policy.Mode
        if self._is_encrypted and mode != ua.MessageSecurityMode.SignAndEncrypt and kind not in DISCOVERY:
            raise ServiceError(ua.StatusCodes.BadSecurityModeRejected)
        check_request(kind, request)
        if kind == CREATE_SESSION:
            self._made += 1
            if self._made > _MAX_SESSIONS:
                raise ServiceError(ua.StatusCodes.BadTooManySessions)

    def _on_refused_login(self) -> None:
        self._gate.accuse("its user or password is wrong", WRONG_LOGIN_S)

    def _should_close_session_on_transport_loss(self) -> bool:
        return True  # no other connection can take it up, see `BoundedInternals`
