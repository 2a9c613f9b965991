"""Addresses of models on servers: `kserve://HOST:PORT/MODEL[/VERSION]?option=value&option=value`."""

import math
import re
from dataclasses import dataclass
from typing import Annotated, Literal
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import msgspec

from partsight.runtime.core import ProviderError
from partsight.runtime.inference import REMOTE_SCHEME

_FORM = f"{REMOTE_SCHEME}://HOST:PORT/MODEL or {REMOTE_SCHEME}://HOST:PORT/MODEL/VERSION"
_PORTS = {"http": 8000, "grpc": 8001}
"""Ports of Triton and of most other servers of the protocol."""

_VERSION = re.compile(r"[A-Za-z0-9._-]+")
_MAX_CHARACTERS = 4096

Seconds = Annotated[float, msgspec.Meta(gt=0, le=3600)]


class RemoteOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Options of the connection.

    Attributes:
        protocol: `http` or `grpc`.
        tls: Whether the connection is encrypted and the server's certificate checked.
        ca: File of certificates (PEM) that the server's is checked against; empty for the usual ones.
        cert, key: Files (PEM) of this machine's own certificate and its key, which only its owner may read.
        token_file: File whose first line is the bearer token; only its owner may read it.
        timeout_s: Seconds in which a batch must be answered, all attempts together.
        attempt_s: Seconds of one attempt; None for half of `timeout_s`.
    """

    protocol: Literal["http", "grpc"] = "http"
    tls: bool = False
    ca: str = ""
    cert: str = ""
    key: str = ""
    token_file: str = ""
    timeout_s: Seconds = 10.0
    attempt_s: Seconds | None = None

    def __post_init__(self) -> None:
        """Refuse options that contradict each other; msgspec turns the ValueError into its own error."""
        if not self.tls and (self.ca or self.cert or self.key):
            raise ValueError("ca, cert and key need tls=true")
        if self.key and not self.cert:
            raise ValueError("key needs cert; give both, or cert alone, which may hold the key")
        if not math.isfinite(self.timeout_s) or not math.isfinite(self.attempt_s or 0):
            raise ValueError("timeout_s and attempt_s must be numbers")


@dataclass(frozen=True)
class RemoteAddress:
    """A model on a server.

    Attributes:
        text: The address as the caller gave it. It names files of secrets, and holds no secret.
        host: Name or address of the server.
        port: Its port.
        model: Name of the model.
        version: Version of the model; empty to find the one that has the package.
        options: Options of the connection.
    """

    text: str
    host: str
    port: int
    model: str
    version: str
    options: RemoteOptions

    @property
    def attempt_s(self) -> float:
        """Most seconds of one attempt."""
        limit = self.options.attempt_s or self.options.timeout_s / 2
        return min(limit, self.options.timeout_s)

    @property
    def authority(self) -> str:
        """`host:port`, the host in brackets if it is an IPv6 address."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __str__(self) -> str:
        """Return the address for messages, without options."""
        version = f"/{self.version}" if self.version else ""
        return f"{REMOTE_SCHEME}://{self.authority}/{quote(self.model, safe='')}{version}"


def parse_address(text: str) -> RemoteAddress:
    """Read the address of a model on a server.

    Args:
        text: `kserve://HOST:PORT/MODEL[/VERSION]?option=value`, see `RemoteOptions`.

    Raises:
        ProviderError: The address has another form, or an option is unknown or wrong.
    """
    place, _, query = text.partition("?")
    if "@" in place:
        raise ProviderError(
            f"provider {REMOTE_SCHEME}: the address holds a user or a password, and partsight logs addresses; use the "
            "option token_file"
        )
    if len(text) > _MAX_CHARACTERS:
        raise ProviderError(f"provider {text[:40]}…: has {len(text)} characters; expected at most {_MAX_CHARACTERS}")
    options = _read_options(place, query)
    host, port, path = _split(place)
    model, _, version = path.partition("/")
    model = unquote(model, errors="replace")
    if not host or not model or not model.isprintable() or (version and not _VERSION.fullmatch(version)):
        raise ProviderError(f"provider {place!r}: expected {_FORM}")
    return RemoteAddress(text, host, _PORTS[options.protocol] if port is None else port, model, version, options)


def _split(place: str) -> tuple[str, int | None, str]:
    """Return host, port and path."""
    try:
        parts = urlsplit(place)
        host, port = parts.hostname or "", parts.port
        host.encode("idna")  # as a socket does
        if port == 0:
            raise ValueError("port 0")
    except ValueError as error:
        raise ProviderError(f"provider {place!r}: {error}; expected {_FORM}") from error
    return host, port, parts.path.strip("/")


def _read_options(place: str, query: str) -> RemoteOptions:
    known = ", ".join(RemoteOptions.__struct_fields__)
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError as error:
        raise ProviderError(f"provider {place}: malformed options; expected ?name=value&name=value") from error
    options = dict(pairs)
    if len(options) < len(pairs):
        raise ProviderError(f"provider {place}: an option is given twice; expected each once")
    for name in options:
        if name not in RemoteOptions.__struct_fields__:
            raise ProviderError(f"provider {place}: option {name} is not known; its options are: {known}")
    try:
        return msgspec.convert(options, RemoteOptions, strict=False)
    except (msgspec.ValidationError, UnicodeEncodeError) as error:
        found = re.fullmatch(r"(.*) - at `\$\.(\w+)`", str(error))
        reason = f"option {found[2]} is {options[found[2]]!r}: {found[1]}" if found else str(error)
        raise ProviderError(f"provider {place}: {reason}; its options are: {known}") from error
