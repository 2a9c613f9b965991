"""A session of asyncua's server with a bound for each request: one request may neither fill memory nor last minutes."""
# ruff: noqa: D102 (each method does the same as asyncua's, within bounds)

import math
from typing import Any

from asyncua import ua
from asyncua.common.utils import ServiceError
from asyncua.server.internal_session import InternalSession

MAX_READ, MAX_BROWSED, MAX_STEPS = 200, 20, 8
"""Nodes to read and nodes to browse in one request; steps of one browse path. Some nodes take 50 ms to browse."""

MAX_ITEMS, MAX_QUEUED = 1000, 20
"""Monitored items of all clients together; values of an item that wait for a client."""

MIN_INTERVAL_MS, MAX_INTERVAL_MS = 50.0, 3_600_000.0
"""Time between two answers of a subscription. asyncua runs at full load for an interval near 0."""

_SUBSCRIPTION_IDS = range(1000, 2000)


class BoundedSession(InternalSession):
    """The session of one client."""

    async def read(self, params: Any) -> Any:
        _check_count(params.NodesToRead, MAX_READ)
        return await super().read(params)

    async def browse(self, params: Any) -> Any:
        _check_count(params.NodesToBrowse, MAX_BROWSED)
        return await super().browse(params)

    async def translate_browsepaths_to_nodeids(self, params: Any) -> Any:
        _check_count(params, MAX_BROWSED)
        for path in params:
            _check_count(path.RelativePath.Elements, MAX_STEPS)
        return await super().translate_browsepaths_to_nodeids(params)

    async def create_subscription(self, params: Any, callback: Any, request_callback: Any = None) -> Any:
        wanted_ms = params.RequestedPublishingInterval
        wanted_ms = MIN_INTERVAL_MS if math.isnan(wanted_ms) else wanted_ms
        params.RequestedPublishingInterval = min(max(wanted_ms, MIN_INTERVAL_MS), MAX_INTERVAL_MS)
        # Ids are used again: asyncua makes a logger for each, which Python keeps for ever.
        service = self.subscription_service
        last = service._sub_id_counter
        ids = (number for number in (*range(last + 1, _SUBSCRIPTION_IDS.stop), *_SUBSCRIPTION_IDS))
        free = (number for number in ids if number in _SUBSCRIPTION_IDS and number not in service.subscriptions)
        service._sub_id_counter = next(free) - 1
        return await super().create_subscription(params, callback, request_callback)

    async def create_monitored_items(self, params: Any) -> Any:
        subscriptions = self.subscription_service.subscriptions.values()
        items = sum(len(subscription.monitored_item_srv._monitored_items) for subscription in subscriptions)
        if items + len(params.ItemsToCreate) > MAX_ITEMS:
            raise ServiceError(ua.StatusCodes.BadTooManyMonitoredItems)
        return await super().create_monitored_items(params)

    async def modify_monitored_items(self, params: Any) -> Any:
        for item in params.ItemsToModify:
            asked = item.RequestedParameters.QueueSize  # 0 is a queue without end
            item.RequestedParameters.QueueSize = min(asked or MAX_QUEUED, MAX_QUEUED)
        return await super().modify_monitored_items(params)


def _check_count(things: list[Any], most: int) -> None:
    if len(things) > most:
        raise ServiceError(ua.StatusCodes.BadTooManyOperations)
