"""`opcua://host:port`: the last result and counters as variables of an OPC UA server."""

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

from partsight.runtime.errors import SinkError
from partsight.runtime.record import Record, Told
from partsight.runtime.sinks.address import Address, Options, need
from partsight.runtime.sinks.serving import LoopThread
from partsight.runtime.sinks.sink import Sink

if TYPE_CHECKING:
    from asyncua import Node, Server
    from asyncua.crypto.permission_rules import User

PORT = 4840
NAMESPACE = "urn:partsight:results"
_START_S = 60.0  # it takes 2.6 s on an idle machine

_TEXTS = ("outcome", "label", "camera", "source", "run", "package_id", "signed_by", "error", "record")
_NUMBERS = ("score", "margin", "latency_ms")
_COUNTERS = ("recognised", "unknown", "failed", "results")  # the last one is written last: who watches it sees the rest


class OpcUaSink:
    """Serves the last result; clients may read and subscribe, and change nothing."""

    may_lose = True  # the last result is of use to a client, and not those before it

    def __init__(self, host: str, port: int) -> None:
        """Start the server.

        Raises:
            SinkError: the port cannot be had.
        """
        self._where = f"opcua://{host}:{port}"
        self._counts = dict.fromkeys(_COUNTERS, 0)
        self._closed = False
        self._nodes: dict[str, Node] = {}
        self._loop = LoopThread("opcua")
        try:
            self._server = self._loop.run(self._serve(host, port), _START_S)
        except (OSError, SinkError) as error:
            self._loop.close()
            raise SinkError(f"{self._where}: cannot be served ({error}); is the port taken?") from error

    def write(self, told: Told) -> None:
        """Show a result.

        Raises:
            SinkError: the server ended, or did not take it for 10 s.
        """
        if self._closed:
            raise SinkError(f"{self._where}: this sink is closed; open it again")
        counts = dict(self._counts)
        counts[told.record.outcome] += 1
        counts["results"] += 1
        self._loop.run(self._show(told.record, counts))
        self._counts = counts

    def close(self) -> None:
        """End the server and its connections. May be called twice."""
        if not self._closed:
            self._closed = True
            try:
                self._loop.run(self._server.stop())
            finally:
                self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def _serve(self, host: str, port: int) -> "Server":
        from asyncua import ua  # noqa: PLC0415 (an extra)

        from partsight.runtime.sinks.opcua_server import BoundedServer  # noqa: PLC0415

        server = BoundedServer(user_manager=_ReadOnly())
        await server.init()
        server.set_endpoint(f"opc.tcp://{host}:{port}/partsight")
        server.set_server_name("partsight")
        server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
        server.set_identity_tokens([ua.AnonymousIdentityToken])
        space = await server.register_namespace(NAMESPACE)
        folder = await server.nodes.objects.add_object(ua.NodeId("partsight", space), "partsight")
        kinds: dict[str, tuple[Any, Any]] = {
            **dict.fromkeys(_TEXTS, ("", ua.VariantType.String)),
            **dict.fromkeys(_NUMBERS, (math.nan, ua.VariantType.Double)),
            **dict.fromkeys(_COUNTERS, (0, ua.VariantType.UInt64)),
            "sequence": (0, ua.VariantType.Int64),
            "timestamp": (datetime.fromtimestamp(0, UTC), ua.VariantType.DateTime),
        }
        for name, (value, kind) in kinds.items():
            key = ua.NodeId(f"partsight.{name}", space)
            self._nodes[name] = await folder.add_variable(key, name, value, kind)
        try:
            await server.start()
        except OSError:
            await server.stop()
            raise
        return server

    async def _show(self, record: Record, counts: dict[str, int]) -> None:
        from asyncua import ua  # noqa: PLC0415 (an extra)

        values: dict[str, tuple[Any, Any]] = {name: (_text(record, name), ua.VariantType.String) for name in _TEXTS}
        for name in _NUMBERS:
            number = getattr(record, name)
            values[name] = (math.nan if number is None else float(number), ua.VariantType.Double)
        values["sequence"] = (record.sequence, ua.VariantType.Int64)
        values["timestamp"] = (datetime.fromtimestamp(record.timestamp, UTC), ua.VariantType.DateTime)
        for name in _COUNTERS:
            values[name] = (counts[name], ua.VariantType.UInt64)
        now = datetime.now(UTC)
        for name, (value, kind) in values.items():
            data = ua.DataValue(ua.Variant(value, kind), SourceTimestamp=now)
            await self._server.write_attribute_value(self._nodes[name].nodeid, data)


class _ReadOnly:
    """Gives every client the rights of a reader: asyncua's own default is those of an administrator."""

    def get_user(self, _server: object, *_: object, **__: object) -> "User":
        """Return who a client is."""
        from asyncua.crypto.permission_rules import User, UserRole  # noqa: PLC0415 (an extra)

        return User(role=UserRole.User)


def open_address(address: Address) -> Sink:
    """Open `opcua://host:port`.

    Raises:
        SinkError: see `OpcUaSink`; or an option is wrong.
        DependencyError: asyncua is not installed.
    """
    address.read_options(Options)
    host, port = address.host_and_port(PORT)
    need("asyncua", "opcua")
    return OpcUaSink(host, port)


def _text(record: Record, name: str) -> str:
    return record.to_json().decode() if name == "record" else getattr(record, name) or ""
