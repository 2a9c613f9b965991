"""Sessions of asyncua's server: each belongs to its connection, reads, and has a bounded number of everything."""
# ruff: noqa: D102 (each method does what asyncua's does, within bounds)

import asyncio
import math
from collections.abc import Callable
from typing import Any

from asyncua import ua
from asyncua.common.utils import ServiceError
from asyncua.crypto.permission_rules import User
from asyncua.server.internal_server import InternalServer
from asyncua.server.internal_session import InternalSession

from partsight.runtime.sinks.opcua_requests import MAX_STEPS

MAX_SUBSCRIPTIONS, MAX_ITEMS = 4, 50
"""Of a session."""

MAX_READ, MAX_BROWSED = 200, 20
"""Nodes of one request."""

MAX_QUEUED, MAX_UNACKNOWLEDGED = 20, 4
"""Values of an item that wait for a client; answers of a subscription that it may ask for again."""

MIN_INTERVAL_MS, MAX_INTERVAL_MS = 50.0, 3_600_000.0
"""Between two answers of a subscription."""

_ACTIVATE_S = 10.0
_IDS = range(1000, 2000)  # of subscriptions: each new one makes the library keep a logger for good


class BoundedInternals(InternalServer):
    """Sessions belong to their connections, and are of the kind below."""

    def __init__(self, users: Any, idle_s: float) -> None:
        super().__init__(user_manager=users)
        self.max_session_timeout_ms = 1000 * idle_s
        self.min_session_timeout_ms = min(5000.0, self.max_session_timeout_ms)
        self.max_pending_activation_seconds = _ACTIVATE_S
        self.max_unacked_messages_per_subscription = MAX_UNACKNOWLEDGED
        self.max_monitored_item_queue_size = MAX_QUEUED

    def create_session(self, name: str, user: User | None = None, external: bool = False) -> InternalSession:
        return BoundedSession(self, self.aspace, self.subscription_service, name, user or User(), external)

    def lookup_external_session(self, auth_token: Any) -> None:
        """Hand a session to no other connection: its token can be guessed, and would do to read without a password."""

    def decrypt_user_token(self, isession: Any, token: Any) -> tuple[str, str]:
        if token.EncryptionAlgorithm and "rsa-oaep" not in token.EncryptionAlgorithm:
            raise ServiceError(ua.StatusCodes.BadIdentityTokenRejected)  # answers to RSA 1.5 give keys away
        found: tuple[str, str] = super().decrypt_user_token(isession, token)
        return found


class BoundedSession(InternalSession):
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
        _bound(params.NodesToRead, MAX_READ)
        return await super().read(params)

    async def browse(self, params: Any) -> list[Any]:
        nodes = _bound(params.NodesToBrowse, MAX_BROWSED)
        results: list[Any] = []
        for node in nodes:
            params.NodesToBrowse = [node]
            results += await super().browse(params)
            await asyncio.sleep(0)  # others come between: some nodes take a while
        return results

    async def translate_browsepaths_to_nodeids(self, params: Any) -> Any:
        for path in _bound(params, MAX_BROWSED):
            _bound(path.RelativePath.Elements, MAX_STEPS)
        return await super().translate_browsepaths_to_nodeids(params)

    async def create_subscription(self, params: Any, callback: Any, request_callback: Any = None) -> Any:
        service = self.subscription_service
        if len(self._own()) >= MAX_SUBSCRIPTIONS:
            raise ServiceError(ua.StatusCodes.BadTooManySubscriptions)
        asked = params.RequestedPublishingInterval
        is_number = not math.isnan(asked)
        params.RequestedPublishingInterval = (
            min(max(asked, MIN_INTERVAL_MS), MAX_INTERVAL_MS) if is_number else MIN_INTERVAL_MS
        )
        last = service._sub_id_counter
        ids = (number for number in (*range(last + 1, _IDS.stop), *_IDS) if number in _IDS)
        service._sub_id_counter = next(number for number in ids if number not in service.subscriptions) - 1
        return await super().create_subscription(params, callback, request_callback)

    async def create_monitored_items(self, params: Any) -> Any:
        own = self._own(params.SubscriptionId)
        items = sum(len(subscription.monitored_item_srv._monitored_items) for subscription in own)
        if items + len(params.ItemsToCreate) > MAX_ITEMS:
            raise ServiceError(ua.StatusCodes.BadTooManyMonitoredItems)
        return await super().create_monitored_items(params)

    async def modify_monitored_items(self, params: Any) -> Any:
        self._own(params.SubscriptionId)
        for item in params.ItemsToModify:
            item.RequestedParameters.QueueSize = min(item.RequestedParameters.QueueSize or MAX_QUEUED, MAX_QUEUED)
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
        params.SubscriptionIds = self._others_as_none(params.SubscriptionIds)
        return await super().set_publishing_mode(params)

    async def delete_subscriptions(self, ids: list[int]) -> Any:
        return await super().delete_subscriptions(self._others_as_none(ids))

    def publish(self, acks: Any = None) -> Any:
        for ack in acks or ():
            (ack.SubscriptionId,) = self._others_as_none([ack.SubscriptionId])
        return super().publish(acks)

    def _others_as_none(self, ids: list[int]) -> list[int]:
        """Return ids of subscriptions, and for those of other sessions 0, which is nobody's and answered so."""
        own = {subscription.data.SubscriptionId for subscription in self._own()}
        return [number if number in own else 0 for number in ids]

    def _own(self, *ids: int) -> list[Any]:
        """Return this session's subscriptions; raise ServiceError if one of `ids` is none of them."""
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
