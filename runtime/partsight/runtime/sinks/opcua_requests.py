"""What an OPC UA client may send, told from what it may not before the library decodes it.

asyncua decodes any structure that a client names, with any number of elements that it names: a few bytes may ask for
gigabytes. So what a reader needs is let through, and nothing else.
"""

from collections.abc import Callable
from typing import Any

from asyncua import ua
from asyncua.common.utils import Buffer, NotEnoughData, ServiceError
from asyncua.ua.ua_binary import Primitives, nodeid_from_binary, struct_from_binary

MAX_MESSAGE_BYTES = 2**16
MAX_CHUNK_BYTES = 65535
MIN_CHUNK_BYTES = 8192
"""Of a client's own buffers, by the specification; far smaller ones would make each byte of an answer a message."""

MAX_STEPS = 8
"""Of one browse path."""

_TYPES = (b"HEL", b"OPN", b"MSG", b"CLO")
_CHUNKS = b"FCA"
_MIN_BYTES = 12


def _ids(*names: str) -> frozenset[Any]:
    return frozenset(ua.NodeId(getattr(ua.ObjectIds, f"{name}_Encoding_DefaultBinary")) for name in names)


CREATE_SESSION = ua.NodeId(ua.ObjectIds.CreateSessionRequest_Encoding_DefaultBinary)
DISCOVERY = _ids("GetEndpointsRequest", "FindServersRequest", "CloseSecureChannelRequest")
"""What a client may ask before it has an encrypted channel, so that it learns how to get one."""

_OTHERS = _ids(
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


def frame_size(head: bytes) -> int:
    """Return how many bytes a chunk of a message has; 0 where that cannot be told yet.

    Raises:
        ValueError: it is none of OPC UA, or too large.
    """
    is_known = any(kind.startswith(head[:3]) for kind in _TYPES) and all(byte in _CHUNKS for byte in head[3:4])
    size = int.from_bytes(head[4:8], "little")
    if not is_known or (len(head) >= 8 and not _MIN_BYTES <= size <= MAX_CHUNK_BYTES):
        raise ValueError("what is no OPC UA message, or too large a one")
    return size if len(head) >= 8 else 0


class StrictBuffer(Buffer):
    """Bytes that are read forwards only: by a length below 0 the library would go back, and read them for ever."""

    def read(self, size: int) -> bytes:
        """Return so many bytes."""
        data: bytes = super().read(_forwards(size))
        return data

    def skip(self, size: int) -> None:
        """Pass over so many bytes."""
        super().skip(_forwards(size))

    def copy(self, size: int = -1) -> "StrictBuffer":
        """Return the next so many bytes, or all, without passing over them."""
        rest = bytes(self)[: len(self)]
        return StrictBuffer(rest if size == -1 else rest[: _forwards(size)])


def check_hello(body: Buffer) -> None:
    """Refuse a client with buffers that are too small.

    Raises:
        ValueError: they are.
        UaError: it is no greeting.
    """
    hello = struct_from_binary(ua.Hello, StrictBuffer(bytes(body)))
    if min(hello.ReceiveBufferSize, hello.SendBufferSize) < MIN_CHUNK_BYTES:
        raise ValueError(f"buffers of {hello.ReceiveBufferSize} and {hello.SendBufferSize} bytes")


def read_head(request: StrictBuffer) -> tuple[Any, int]:
    """Read what every request begins with.

    Returns:
        The id of its kind, and the client's own number of it.

    Raises:
        UaError: it is no request, or has a header of an unknown kind.
    """
    kind = nodeid_from_binary(request)
    nodeid_from_binary(request)  # the token of its session, which the library does not look at
    request.skip(8)  # time
    number = Primitives.UInt32.unpack(request)
    request.skip(4)  # diagnostics
    Primitives.String.unpack(request)
    request.skip(4)  # timeout
    _read_object(request, frozenset())
    return kind, number


def check_request(kind: Any, request: StrictBuffer) -> None:
    """Refuse a request that a reader does not need, or one with structures that it does not need.

    Args:
        kind: of the request.
        request: what follows its head.

    Raises:
        ServiceError: it is such a request.
        UaError: it cannot be read.
    """
    if kind in _WITH_OBJECTS:
        _WITH_OBJECTS[kind](request)
    elif kind not in _OTHERS | DISCOVERY:
        raise ServiceError(ua.StatusCodes.BadServiceUnsupported)


def _check_activation(request: StrictBuffer) -> None:
    struct_from_binary(ua.SignatureData, request)
    for _ in range(Primitives.Int32.unpack(request)):
        struct_from_binary(ua.SignedSoftwareCertificate, request)
    for _ in range(Primitives.Int32.unpack(request)):
        Primitives.String.unpack(request)
    _read_object(request, _TOKENS)


def _check_new_items(request: StrictBuffer) -> None:
    request.skip(8)  # subscription, which times to return
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
    request.skip(12)  # the client's handle, sampling interval
    _read_object(request, _FILTERS)
    request.skip(5)  # queue, which end of it to drop


def _read_object(request: StrictBuffer, known: frozenset[Any]) -> None:
    """Pass over a structure that names its kind: of those that are known, or none at all."""
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


_WITH_OBJECTS: dict[Any, Callable[[StrictBuffer], None]] = {
    ua.NodeId(ua.ObjectIds.ActivateSessionRequest_Encoding_DefaultBinary): _check_activation,
    ua.NodeId(ua.ObjectIds.CreateMonitoredItemsRequest_Encoding_DefaultBinary): _check_new_items,
    ua.NodeId(ua.ObjectIds.ModifyMonitoredItemsRequest_Encoding_DefaultBinary): _check_changed_items,
}
