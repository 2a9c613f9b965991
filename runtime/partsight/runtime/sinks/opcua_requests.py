"""The requests that an OPC UA client may send, checked before asyncua decodes them.

asyncua decodes every structure that a client names, with as many elements as the client says: 100 bytes can ask for
gigabytes. This module passes the services and structures of a client that reads and subscribes, and no others.
"""

from collections.abc import Callable
from typing import Any

from asyncua import ua
from asyncua.common.utils import Buffer, NotEnoughData, ServiceError
from asyncua.ua.ua_binary import Primitives, nodeid_from_binary, struct_from_binary

MAX_MESSAGE_BYTES = 2**16
MAX_CHUNK_BYTES = 65535
MIN_CHUNK_BYTES = 8192
"""Smallest buffer of a client, by the specification. With one of a few bytes, each byte of an answer is a chunk."""


def _ids(*names: str) -> frozenset[Any]:
    return frozenset(ua.NodeId(getattr(ua.ObjectIds, f"{name}_Encoding_DefaultBinary")) for name in names)


(CREATE_SESSION,) = _ids("CreateSessionRequest")
_DISCOVERY = _ids("GetEndpointsRequest", "FindServersRequest", "CloseSecureChannelRequest")
"""Requests on a channel without encryption, by which a client learns how to open an encrypted one."""

_PASSED = _DISCOVERY | _ids(
    "CreateSessionRequest",
    "CloseSessionRequest",
    "ReadRequest",
    "BrowseRequest",
    "TranslateBrowsePathsToNodeIdsRequest",
    "RegisterNodesRequest",
    "UnregisterNodesRequest",
    "CreateSubscriptionRequest",
    "ModifySubscriptionRequest",
    "DeleteSubscriptionsRequest",
    "SetPublishingModeRequest",
    "DeleteMonitoredItemsRequest",
    "SetMonitoringModeRequest",
    "PublishRequest",
    "RepublishRequest",
)
_TOKENS = _ids("AnonymousIdentityToken", "UserNameIdentityToken", "X509IdentityToken")
_FILTERS = _ids("DataChangeFilter")


class StrictBuffer(Buffer):
    """Bytes that are read only forwards: with a length below 0, asyncua's buffer goes back and reads them for ever."""

    def read(self, size: int) -> bytes:
        """Return the next `size` bytes."""
        data: bytes = super().read(_forwards(size))
        return data

    def skip(self, size: int) -> None:
        """Skip the next `size` bytes."""
        super().skip(_forwards(size))

    def copy(self, size: int = -1) -> "StrictBuffer":
        """Return the next `size` bytes, or all, and stay in front of them."""
        rest = bytes(self)[: len(self)]
        return StrictBuffer(rest if size == -1 else rest[: _forwards(size)])


def check_hello(body: Buffer) -> None:
    """Refuse a client with too small buffers.

    Raises:
        ValueError: they are too small.
        UaError: the message is no greeting.
    """
    hello = struct_from_binary(ua.Hello, StrictBuffer(bytes(body)))
    if min(hello.ReceiveBufferSize, hello.SendBufferSize) < MIN_CHUNK_BYTES:
        raise ValueError(f"buffers of {hello.ReceiveBufferSize} and {hello.SendBufferSize} bytes")


def read_head(request: StrictBuffer) -> tuple[Any, int]:
    """Read the head of a request.

    Returns:
        Id of the service, and the client's number of the request.

    Raises:
        UaError: it is no request, or its head holds a structure.
    """
    service = nodeid_from_binary(request)
    nodeid_from_binary(request)  # token of its session
    request.skip(8)  # time
    number = Primitives.UInt32.unpack(request)
    request.skip(4)  # diagnostics
    Primitives.String.unpack(request)
    request.skip(4)  # timeout
    _skip_structure(request, frozenset())
    return service, number


def check_request(service: Any, request: StrictBuffer, *, is_open: bool) -> None:
    """Refuse a service that a reader does not need, or a structure that it does not need.

    Args:
        service: Id of the service.
        request: The request after its head.
        is_open: True on a channel without encryption where the server demands encryption.

    Raises:
        ServiceError: the service or a structure is refused.
        UaError: the request cannot be read.
    """
    if is_open and service not in _DISCOVERY:
        raise ServiceError(ua.StatusCodes.BadSecurityModeRejected)
    if service in _WITH_STRUCTURES:
        _WITH_STRUCTURES[service](request)
    elif service not in _PASSED:
        raise ServiceError(ua.StatusCodes.BadServiceUnsupported)


def _check_activation(request: StrictBuffer) -> None:
    struct_from_binary(ua.SignatureData, request)
    for _ in range(Primitives.Int32.unpack(request)):
        struct_from_binary(ua.SignedSoftwareCertificate, request)
    for _ in range(Primitives.Int32.unpack(request)):
        Primitives.String.unpack(request)
    _skip_structure(request, _TOKENS)


def _check_new_items(request: StrictBuffer) -> None:
    request.skip(8)  # subscription, timestamps to return
    for _ in range(Primitives.Int32.unpack(request)):
        struct_from_binary(ua.ReadValueId, request)
        request.skip(4)  # mode
        _check_parameters(request)


def _check_changed_items(request: StrictBuffer) -> None:
    request.skip(8)  # as above
    for _ in range(Primitives.Int32.unpack(request)):
        request.skip(4)  # item
        _check_parameters(request)


def _check_parameters(request: StrictBuffer) -> None:
    request.skip(12)  # handle of the client, sampling interval
    _skip_structure(request, _FILTERS)
    request.skip(5)  # size of the queue, end to drop


def _skip_structure(request: StrictBuffer, known: frozenset[Any]) -> None:
    """Skip a structure that names its type: one of those known, or none at all."""
    kind = nodeid_from_binary(request)
    has_body = request.read(1) != b"\0"
    if kind not in known and (kind.Identifier != 0 or has_body):
        raise ServiceError(ua.StatusCodes.BadNotSupported)
    if has_body:
        request.skip(Primitives.Int32.unpack(request))


def _forwards(size: int) -> int:
    if size < 0:
        raise NotEnoughData(f"a length of {size}")
    return size


_WITH_STRUCTURES: dict[Any, Callable[[StrictBuffer], None]] = {
    ua.NodeId(ua.ObjectIds.ActivateSessionRequest_Encoding_DefaultBinary): _check_activation,
    ua.NodeId(ua.ObjectIds.CreateMonitoredItemsRequest_Encoding_DefaultBinary): _check_new_items,
    ua.NodeId(ua.ObjectIds.ModifyMonitoredItemsRequest_Encoding_DefaultBinary): _check_changed_items,
}
