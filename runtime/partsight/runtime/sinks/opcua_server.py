"""asyncua's server, of which clients can read and subscribe, and nothing else.

asyncua has public settings for most bounds. The subclasses here add the others: `allow=`, the check of each request
before asyncua decodes it, and bounds of the bytes that wait. They use internals of asyncua: pyproject.toml bounds its
version.
"""

import asyncio
from typing import Any

from asyncua import Server, ua
from asyncua.common.connection import TransportLimits
from asyncua.common.utils import Buffer, ServiceError
from asyncua.crypto.permission_rules import User
from asyncua.server.binary_server_asyncio import BinaryServer, OPCUAProtocol
from asyncua.server.internal_server import InternalServer
from asyncua.server.uaprocessor import UaProcessor

from partsight.runtime.sinks.allow import MAX_CONNECTIONS, AllowList, host_of
from partsight.runtime.sinks.opcua_requests import (
    CREATE_SESSION,
    MAX_CHUNK_BYTES,
    MAX_MESSAGE_BYTES,
    StrictBuffer,
    check_hello,
    check_request,
    read_head,
)
from partsight.runtime.sinks.opcua_session import MAX_BROWSED, MAX_ITEMS, MAX_QUEUED, MAX_READ, BoundedSession

_ACTIVATE_S = 10.0  # until a connection has a session
_MAX_WAITING_REQUESTS = 32  # of a connection
_MAX_UNSENT_BYTES = 2**22  # of answers that a client does not read
_MAX_UNACKNOWLEDGED = 4  # answers of a subscription that a client may ask for again
_MAX_SUBSCRIPTIONS = 4 * MAX_CONNECTIONS

_PUBLISHED_LIMITS = {
    ua.ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerRead: MAX_READ,
    ua.ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerBrowse: MAX_BROWSED,
    ua.ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerTranslateBrowsePathsToNodeIds: MAX_BROWSED,
    ua.ObjectIds.Server_ServerCapabilities_OperationLimits_MaxMonitoredItemsPerCall: MAX_ITEMS,
}
"""Nodes by which clients learn the bounds, so that they ask in parts."""


class ReadOnlyServer(Server):
    """The server. Set its endpoint, certificate and policies before `start`, as with its base."""

    def __init__(
        self, addresses: list[str], port: int, users: Any, allow: AllowList, *, is_encrypted: bool, idle_s: float
    ) -> None:
        """Take the rules.

        Args:
            addresses: IP addresses to listen at.
            port: Port to listen at.
            users: Object that decides who may activate a session, as asyncua's `UserManager`.
            allow: Hosts that may connect.
            is_encrypted: True if a channel without encryption is for discovery alone.
            idle_s: Seconds without a request after which a session and its connection end.
        """
        super().__init__(_Internals(users, idle_s))
        self.application_type = ua.ApplicationType.Server
        self.product_uri = self.manufacturer_name = "urn:partsight"
        self.limits = TransportLimits(MAX_CHUNK_BYTES, MAX_CHUNK_BYTES, 16, MAX_MESSAGE_BYTES)
        self._addresses, self._port = addresses, port
        self._allow, self._is_encrypted = allow, is_encrypted

    async def start(self) -> None:
        """Listen.

        Raises:
            OSError: the server cannot listen there.
        """
        for node, limit in _PUBLISHED_LIMITS.items():
            await self.get_node(ua.NodeId(node)).write_value(ua.Variant(limit, ua.VariantType.UInt32))
        await self._setup_server_nodes()
        await self.iserver.start()
        listener = _Listener(self.iserver, self._addresses, self._port, self.limits)
        listener.set_policies(self._policies)
        listener.allow, listener.is_encrypted = self._allow, self._is_encrypted
        self.bserver = listener
        await listener.start()


class _Internals(InternalServer):
    """Bounds of sessions, and sessions that no other connection can take over."""

    def __init__(self, users: Any, idle_s: float) -> None:
        super().__init__(user_manager=users)
        self.max_connections = MAX_CONNECTIONS
        self.max_pending_activation_seconds = _ACTIVATE_S
        self.max_pending_messages_per_connection = _MAX_WAITING_REQUESTS
        self.max_session_timeout_ms = 1000 * idle_s
        self.min_session_timeout_ms = min(5000.0, self.max_session_timeout_ms)
        self.max_subscriptions = _MAX_SUBSCRIPTIONS
        self.max_unacked_messages_per_subscription = _MAX_UNACKNOWLEDGED
        self.max_monitored_item_queue_size = MAX_QUEUED

    def create_session(self, name: str, user: User | None = None, external: bool = False) -> BoundedSession:
        return BoundedSession(self, self.aspace, self.subscription_service, name, user or User(), external)

    def lookup_external_session(self, auth_token: Any) -> None:
        """Find no session: asyncua counts tokens up, and a guessed one would be enough to read without a password."""

    def decrypt_user_token(self, isession: Any, token: Any) -> tuple[str, str]:
        if token.EncryptionAlgorithm and "rsa-oaep" not in token.EncryptionAlgorithm:
            raise ServiceError(ua.StatusCodes.BadIdentityTokenRejected)  # answers to RSA 1.5 reveal passwords
        found: tuple[str, str] = super().decrypt_user_token(isession, token)
        return found


class _Listener(BinaryServer):
    """Makes the protocol below for each connection."""

    allow: AllowList
    is_encrypted: bool

    def _make_protocol(self) -> OPCUAProtocol:
        return _Protocol(self)

    async def stop(self) -> None:
        for transport in list(self.iserver.asyncio_transports):
            transport.abort()  # asyncua would wait for a client that reads nothing
        await super().stop()


class _Protocol(OPCUAProtocol):
    """Refuses hosts that are not in `allow=`, and keeps at most one chunk that is not whole."""

    processor: UaProcessor | None

    def __init__(self, listener: _Listener) -> None:
        super().__init__(
            listener.iserver, listener._policies, listener.clients, listener.closing_tasks, listener.limits
        )
        self._allow, self._is_encrypted = listener.allow, listener.is_encrypted

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if not self._allow.admits(host_of(transport)):
            transport.abort()  # type: ignore[attr-defined]
            return
        super().connection_made(transport)
        if self.processor is not None:
            self.processor = _Processor(self._allow, self._is_encrypted, self.iserver, transport, self.limits)
            self.processor.set_policies(self.policies)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.transport is None:
            return
        if self.transport.is_closing():  # asyncua's queue is full, and it would wait for a client that reads nothing
            self.transport.abort()
        elif len(self._buffer) > MAX_CHUNK_BYTES:
            self._allow.refuse(host_of(self.transport), f"its message has more than {MAX_CHUNK_BYTES:,} bytes")
            self.transport.abort()


class _Processor(UaProcessor):
    """Checks each request before asyncua decodes it, and ends a connection that sends nonsense or reads nothing."""

    def __init__(self, allow: AllowList, is_encrypted: bool, *rest: Any) -> None:
        super().__init__(*rest)
        self._allow, self._is_encrypted = allow, is_encrypted

    async def process(self, header: Any, body: Buffer) -> bool:
        try:
            if header.MessageType == ua.MessageType.Hello:
                check_hello(body)
            goes_on: bool = await super().process(header, body)
        except Exception as error:  # noqa: BLE001 (asyncua would log each one with its stack, and go on)
            self._end(f"its message cannot be read ({type(error).__name__})")
            return False
        if self._transport.get_write_buffer_size() > _MAX_UNSENT_BYTES:
            self._end("it does not read its answers")
            return False
        return goes_on

    def open_secure_channel(self, algohdr: Any, seqhdr: Any, body: Buffer) -> None:
        read_head(StrictBuffer(bytes(body)))
        super().open_secure_channel(algohdr, seqhdr, StrictBuffer(bytes(body)))

    async def process_message(self, seqhdr: Any, body: Buffer) -> bool:
        request = StrictBuffer(bytes(body))
        service, number = read_head(request)
        mode = self._connection.security_policy.Mode
        is_open = self._is_encrypted and mode != ua.MessageSecurityMode.SignAndEncrypt
        try:
            check_request(service, request, is_open=is_open)
        except ServiceError as error:
            fault = ua.ServiceFault()
            fault.ResponseHeader.ServiceResult = ua.StatusCode(error.code)
            self.send_response(number, seqhdr, fault)
            return True
        if service == CREATE_SESSION and self.session is not None:
            await self.session.close_session()  # asyncua would keep it for ever
        goes_on: bool = await super().process_message(seqhdr, StrictBuffer(bytes(body)))
        return goes_on

    async def close(self) -> None:
        """Also end the connection of a session that was idle for too long."""
        await super().close()
        self._transport.abort()

    def _should_close_session_on_transport_loss(self) -> bool:
        return True  # no other connection can take it over, see `_Internals`

    def _end(self, reason: str) -> None:
        self._allow.refuse(host_of(self._transport), reason)
        self._transport.abort()
