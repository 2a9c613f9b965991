"""`opcua://host:port`: the last result and counters as variables of an OPC UA server."""

import math
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Self

import msgspec

from partsight.runtime.core import ProcessBound, SinkError, SinkGoneError, import_extra
from partsight.runtime.sinks.address import Address, Options
from partsight.runtime.sinks.allow import AllowList, parse_networks
from partsight.runtime.sinks.opcua_identity import Identity, Readers, read_certificate
from partsight.runtime.sinks.password import read_password
from partsight.runtime.sinks.record import FrameEvent, Record
from partsight.runtime.sinks.serving import (
    LoopThread,
    SeldomLog,
    describe_peers,
    is_loopback,
    joined,
    log_exposed,
    resolve,
)
from partsight.runtime.sinks.sink import Sink

if TYPE_CHECKING:
    from asyncua import Node

    from partsight.runtime.sinks.opcua_server import ReadOnlyServer

PORT = 4840
NAMESPACE = "urn:partsight:results"
_URI = "urn:partsight"
_START_S = 60.0  # a start takes 2.6 s on an idle machine

_TEXTS = ("outcome", "label", "camera", "source", "run", "package_id", "signed_by", "error", "reason", "record")
_NUMBERS = ("score", "margin", "threshold", "least_margin", "latency_ms")
_COUNTERS = ("recognised", "unknown", "failed", "results")
"""The sink writes `results` last: a client that subscribes to it finds the whole result."""


class OpcUaOptions(Options, frozen=True, kw_only=True):
    """Options of the server.

    Attributes:
        username: User name that clients must send; empty for anonymous clients.
        password_file: File whose first line is the password.
        password_env: Environment variable of the password, used without `password_file`.
        cert, key: Files of the certificate and the RSA key that sign and encrypt connections. With them the server
            refuses sessions without encryption.
        allow: Addresses and networks that may connect, separated by commas; empty if every host may.
        idle_s: Seconds without a request after which a connection and its session end.
    """

    username: str = ""
    password_file: str = ""
    password_env: str = "PARTSIGHT_OPCUA_PASSWORD"
    cert: str = ""
    key: str = ""
    allow: str = ""
    idle_s: Annotated[float, msgspec.Meta(ge=1, le=86400)] = 600.0

    def __post_init__(self) -> None:
        parse_networks(self.allow)
        if bool(self.cert) != bool(self.key):
            raise ValueError("cert and key need each other; give both, or neither")


class OpcUaSink(ProcessBound, unusable=SinkGoneError):
    """Serves the last result; clients can read and subscribe, and change nothing."""

    may_lose = True  # a client uses the last result, not the earlier ones

    def __init__(self, host: str, port: int, options: OpcUaOptions, identity: Identity) -> None:
        """Start the server.

        Raises:
            SinkError: the server cannot listen at the port, or a password would cross a network unencrypted.
        """
        self._options, self._where = options, joined("opcua", host, port)
        self._counts = dict.fromkeys(_COUNTERS, 0)
        self._closed = False
        self._nodes: dict[str, Node] = {}
        addresses = resolve(self._where, host, port)
        if identity.username and identity.certificate is None and not is_loopback(addresses):
            raise SinkError(
                f"{self._where}: without cert and key, passwords would cross the network unencrypted; "
                "give both, or serve this machine alone (127.0.0.1)"
            )
        self._loop = LoopThread("opcua")
        try:
            self._server = self._loop.run(self._serve(addresses, port, identity), _START_S)
        except (OSError, SinkError) as error:
            self._loop.close()
            raise SinkError(
                f"{self._where}: cannot listen ({error}); choose another port, or end the program that has it"
            ) from error
        self._quiet = SeldomLog("asyncua")
        if not is_loopback(addresses):
            can = f"read the results as user {identity.username}" if identity.username else "read the results"
            how = "" if identity.certificate else "; nothing is encrypted, so every host on the way can read them too"
            log_exposed(self._where, f"{can}{how}", describe_peers(options.allow))

    def write(self, event: FrameEvent) -> None:
        """Show a result.

        Raises:
            SinkError: the server has ended, or did not take the result within 10 s.
        """
        if self._closed:
            raise SinkGoneError(f"{self._where}: this sink is closed; open it again")
        counts = dict(self._counts)
        counts[event.record.outcome] += 1
        counts["results"] += 1
        self._loop.run(self._show(event.record, counts))
        self._counts = counts

    def close(self) -> None:
        """End the server and its connections. May be called twice."""
        if not self._closed:
            self._closed = True
            self._quiet.close()
            try:
                self._loop.run(self._server.stop())
            finally:
                self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def _serve(self, addresses: list[str], port: int, identity: Identity) -> "ReadOnlyServer":
        from asyncua import ua  # noqa: PLC0415 (an extra)

        from partsight.runtime.sinks.opcua_server import ReadOnlyServer  # noqa: PLC0415

        is_encrypted = identity.certificate is not None
        server = ReadOnlyServer(
            addresses,
            port,
            Readers(identity),
            AllowList(self._where, self._options.allow),
            is_encrypted=is_encrypted,
            idle_s=self._options.idle_s,
        )
        try:
            await server.init()
            server.set_endpoint(f"opc.tcp://{self._where.partition('//')[2]}/partsight")
            server.set_server_name("partsight")
            await server.set_application_uri(identity.uri or _URI)
            kinds = ua.SecurityPolicyType
            server.set_security_policy([kinds.Basic256Sha256_SignAndEncrypt if is_encrypted else kinds.NoSecurity])
            server.set_identity_tokens([ua.UserNameIdentityToken if identity.username else ua.AnonymousIdentityToken])
            server.iserver.certificate, server.iserver.private_key = identity.certificate, identity.key
            await self._add_nodes(server)
            await server.start()
        except BaseException:
            await server.stop()
            raise
        return server

    async def _add_nodes(self, server: "ReadOnlyServer") -> None:
        from asyncua import ua  # noqa: PLC0415 (an extra)

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


OPTIONS = OpcUaOptions


def open_address(address: Address) -> Sink:
    """Open `opcua://host:port`.

    Raises:
        SinkError: see `OpcUaSink`; or an option, the password, the certificate or the key cannot be used.
        DependencyError: asyncua is not installed.
    """
    options = address.read_options(OpcUaOptions)
    host, port = address.host_and_port(PORT)
    import_extra("asyncua", "opcua")
    identity = read_certificate(address, options.cert, options.key) if options.cert else Identity()
    password = read_password(address, options.username, options.password_file, options.password_env)
    if options.username and not password:
        raise SinkError(
            f"sink {address}: the variable {options.password_env} has no password for user {options.username!r}; "
            "set it, or name a password_file"
        )
    return OpcUaSink(host, port, options, replace(identity, username=options.username, password=password))


def _text(record: Record, name: str) -> str:
    return record.to_json().decode() if name == "record" else getattr(record, name) or ""
