"""asyncua's server, of which a client can read and subscribe, within bounds, and nothing else.

The library offers more to whoever connects: other clients' sessions and subscriptions, a channel without encryption
beside the encrypted ones, and as much memory and time as is asked for. What is overridden here closes that;
docs/security.md says what for.
"""

import asyncio
import math
import time
from collections.abc import Callable
from typing import Any

from asyncua import Server, ua
from asyncua.common.connection import TransportLimits
from asyncua.common.utils import Buffer, ServiceError
from asyncua.crypto.permission_rules import User
from asyncua.server.binary_server_asyncio import BinaryServer, OPCUAProtocol
from asyncua.server.internal_server import InternalServer
from asyncua.server.internal_session import InternalSession
from asyncua.server.uaprocessor import UaProcessor

from partsight.runtime.sinks.guard import Connection, Guard
from partsight.runtime.sinks.opcua_requests import (
    CREATE_SESSION,
    DISCOVERY,
    MOST_CHUNK_BYTES,
    MOST_MESSAGE_BYTES,
    MOST_STEPS,
    StrictBuffer,
    check_hello,
    check_request,
    read_head,
)

MOST_SUBSCRIPTIONS, MOST_ITEMS = 4, 50
"""Of a session."""

MOST_READ, MOST_BROWSED = 200, 20
"""Nodes of one request."""

MOST_QUEUED, MOST_UNACKNOWLEDGED = 20, 4
"""Values of an item that wait for a client; answers of a subscription that it may ask for again."""

LEAST_INTERVAL_MS, MOST_INTERVAL_MS = 50.0, 3_600_000.0
"""Between two answers of a subscription."""

WRONG_LOGIN_S = 0.2
"""What a wrong password costs a host of its share: beyond the first few, one in 2 s."""

_MOST_SESSIONS = 4  # that a connection may ask for, one after another
_ACTIVATE_S = 10.0
_IDS = range(1000, 2000)  # of subscriptions: each new one makes the library keep a logger for good

_LIMITS = {
    ua.ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerRead: MOST_READ,
    ua.ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerBrowse: MOST_BROWSED,
    ua.ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerTranslateBrowsePathsToNodeIds: MOST_BROWSED,
    ua.ObjectIds.Server_ServerCapabilities_OperationLimits_MaxMonitoredItemsPerCall: MOST_ITEMS,
}
"""Told to clients, so that they ask for more in parts."""


class BoundedServer(Server):
    """The server. Like its base it is told its endpoint, certificate and policies before `start`."""

    def __init__(self, users: Any, *, is_encrypted: bool, idle_s: float) -> None:
        """Take the rules.

        Args:
            users: says who may activate a session, as the library's `UserManager`.
            is_encrypted: whether channels without encryption are for discovery alone.
            idle_s: longest time that a session lives without a request.
        """
        super().__init__(_Internal(users, idle_s))
        self.application_type = ua.ApplicationType.Server
        self.product_uri = self.manufacturer_name = "urn:partsight"
        self.limits = TransportLimits(MOST_CHUNK_BYTES, MOST_CHUNK_BYTES, 16, MOST_MESSAGE_BYTES)
        self._is_encrypted = is_encrypted

    def protocol(self, connection: Connection) -> OPCUAProtocol:
        """Return the protocol of a connection, for a `Guard`."""
        server: BinaryServer = self.bserver
        return _Protocol(connection, self._is_encrypted, server, self._policies)

    async def listen(self, guard: Guard, addresses: list[str], port: int) -> None:
        """Listen, in place of `start`, which has no place for a guard.

        Raises:
            OSError: it cannot be listened there.
        """
        for node, limit in _LIMITS.items():
            await self.get_node(ua.NodeId(node)).write_value(ua.Variant(limit, ua.VariantType.UInt32))
        await self._setup_server_nodes()
        await self.iserver.start()
        self.bserver = _Listener(self.iserver, addresses, port, self.limits, guard)
        await self.bserver.start()


class _Listener(BinaryServer):
    """Lets a guard make connections."""

    def __init__(self, iserver: Any, addresses: list[str], port: int, limits: TransportLimits, guard: Guard) -> None:
        super().__init__(iserver, addresses, port, limits)
        self._make_protocol = guard.connection


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
        if kind == CREATE_SESSION and isinstance(self.session, _Session):
            self.session.on_refused = self._on_refused_login
        return goes_on

    def _check(self, kind: Any, request: StrictBuffer) -> None:
        mode = self._connection.security_policy.Mode
        if self._is_encrypted and mode != ua.MessageSecurityMode.SignAndEncrypt and kind not in DISCOVERY:
            raise ServiceError(ua.StatusCodes.BadSecurityModeRejected)
        check_request(kind, request)
        if kind == CREATE_SESSION:
            self._made += 1
            if self._made > _MOST_SESSIONS:
                raise ServiceError(ua.StatusCodes.BadTooManySessions)

    def _on_refused_login(self) -> None:
        self._gate.accuse("its user or password is wrong", WRONG_LOGIN_S)

    def _should_close_session_on_transport_loss(self) -> bool:
        return True  # no other connection can take it up, see `_Internal`


class _Internal(InternalServer):
    """Sessions belong to their connections, and are of the kind below."""

    def __init__(self, users: Any, idle_s: float) -> None:
        super().__init__(user_manager=users)
        self.max_session_timeout_ms = 1000 * idle_s
        self.min_session_timeout_ms = min(self.min_session_timeout_ms, self.max_session_timeout_ms)
        self.max_pending_activation_seconds = _ACTIVATE_S
        self.max_unacked_messages_per_subscription = MOST_UNACKNOWLEDGED
        self.max_monitored_item_queue_size = MOST_QUEUED

    def create_session(self, name: str, user: User | None = None, external: bool = False) -> InternalSession:
        return _Session(self, self.aspace, self.subscription_service, name, user or User(), external)

    def lookup_external_session(self, auth_token: Any) -> None:  # noqa: ARG002 (of the library)
        """Hand a session to no other connection: its token can be guessed, and was enough to read without a password."""

    def decrypt_user_token(self, isession: Any, token: Any) -> tuple[str, str]:
        if token.EncryptionAlgorithm and "rsa-oaep" not in token.EncryptionAlgorithm:
            raise ServiceError(ua.StatusCodes.BadIdentityTokenRejected)  # answers to RSA 1.5 give keys away
        found: tuple[str, str] = super().decrypt_user_token(isession, token)
        return found


class _Session(InternalSession):
    """What one client can do."""

    on_refused: Callable[[], None] | None = None

    def activate_session(self, params: Any, peer_certificate: bytes | None) -> Any:
        try:
            return super().activate_session(params, peer_certificate)
        except (ServiceError, ua.UaStatusCodeError):
            if self.on_refused is not None:
                self.on_refused()
            raise

    async def read(self, params: Any) -> Any:
        _bound(params.NodesToRead, MOST_READ)
        return await super().read(params)

    async def browse(self, params: Any) -> list[Any]:
        nodes = _bound(params.NodesToBrowse, MOST_BROWSED)
        results: list[Any] = []
        for params.NodesToBrowse in ([node] for node in nodes):
            results += await super().browse(params)
            await asyncio.sleep(0)  # others come between: some nodes take a while
        return results

    async def translate_browsepaths_to_nodeids(self, params: Any) -> Any:
        for path in _bound(params, MOST_BROWSED):
            _bound(path.RelativePath.Elements, MOST_STEPS)
        return await super().translate_browsepaths_to_nodeids(params)

    async def create_subscription(self, params: Any, callback: Any, request_callback: Any = None) -> Any:
        service = self.subscription_service
        if len(self._own()) >= MOST_SUBSCRIPTIONS:
            raise ServiceError(ua.StatusCodes.BadTooManySubscriptions)
        asked = params.RequestedPublishingInterval
        is_number = not math.isnan(asked)
        params.RequestedPublishingInterval = (
            min(max(asked, LEAST_INTERVAL_MS), MOST_INTERVAL_MS) if is_number else LEAST_INTERVAL_MS
        )
        last = service._sub_id_counter
        ids = (number for number in (*range(last + 1, _IDS.stop), *_IDS) if number in _IDS)
        service._sub_id_counter = next(number for number in ids if number not in service.subscriptions) - 1
        return await super().create_subscription(params, callback, request_callback)

    async def create_monitored_items(self, params: Any) -> Any:
        own = self._own(params.SubscriptionId)
        items = sum(len(subscription.monitored_item_srv._monitored_items) for subscription in own)
        if items + len(params.ItemsToCreate) > MOST_ITEMS:
            raise ServiceError(ua.StatusCodes.BadTooManyMonitoredItems)
        return await super().create_monitored_items(params)

    async def modify_monitored_items(self, params: Any) -> Any:
        self._own(params.SubscriptionId)
        for item in params.ItemsToModify:
            item.RequestedParameters.QueueSize = min(item.RequestedParameters.QueueSize or MOST_QUEUED, MOST_QUEUED)
        return await super().modify_monitored_items(params)

    async def delete_monitored_items(self, params: Any) -> Any:
        self._own(params.SubscriptionId)
        return await super().delete_monitored_items(params)

    async def set_monitoring_mode(self, params: Any) -> Any:
        self._own(params.SubscriptionId)
        return await super().set_monitoring_mode(params)

    def modify_subscription(self, params: Any) -> Any:
        self._own(params.SubscriptionId)
        return super().modify_subscription(params)

    def republish(self, params: Any) -> Any:
        self._own(params.SubscriptionId)
        return super().republish(params)

    async def set_publishing_mode(self, params: Any) -> Any:
        self._own(*params.SubscriptionIds)
        return await super().set_publishing_mode(params)

    async def delete_subscriptions(self, ids: list[int]) -> Any:
        self._own(*ids)
        return await super().delete_subscriptions(ids)

    def publish(self, acks: Any = None) -> Any:
        own = {subscription.data.SubscriptionId for subscription in self._own()}
        for acknowledgement in acks or ():
            if acknowledgement.SubscriptionId not in own:
                acknowledgement.SubscriptionId = 0  # which is nobody's, and answered so
        return super().publish(acks)

    def _own(self, *ids: int) -> list[Any]:
        """Return this session's subscriptions.

        Raises:
            ServiceError: one of `ids` is none of them.
        """
        own = [
            subscription
            for subscription in self.subscription_service.subscriptions.values()
            if subscription.session_id == self.session_id
        ]
        if not {subscription.data.SubscriptionId for subscription in own}.issuperset(ids):
            raise ServiceError(ua.StatusCodes.BadSubscriptionIdInvalid)
        return own


def _bound(things: list[Any], most: int) -> list[Any]:
    if len(things) > most:
        raise ServiceError(ua.StatusCodes.BadTooManyOperations)
    return things
