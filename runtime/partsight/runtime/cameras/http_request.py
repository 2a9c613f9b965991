"""A request by HTTP to one host, with a deadline, and with user name and password if the host asks for them."""

import contextlib
import hashlib
import io
import re
import secrets
import socket
import time
from base64 import b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPResponse
from typing import TYPE_CHECKING, cast
from urllib.parse import SplitResult, quote, unquote
from urllib.request import parse_http_list, parse_keqv_list

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_BLOCK_BYTES = 2**16
_HASHES = {"MD5": "md5", "SHA-256": "sha256"}
_UNQUOTED = "/?%:@!$&'()*+,;=~"  # in a path or query: the address quotes all other characters already


class Wire(io.RawIOBase):
    """The bytes of a socket until a deadline; a sender cannot extend it by sending byte after byte."""

    def __init__(self, connected: socket.socket, deadline: float) -> None:
        self.deadline = deadline
        self._socket = connected

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        """Wait for bytes; raises TimeoutError at the deadline."""
        left_s = self.deadline - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        self._socket.settimeout(left_s)
        return self._socket.recv_into(buffer)

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Return a file for `HTTPResponse`. Unlike a socket's own file, it can be read on after a timeout."""
        return io.BufferedReader(self, _BLOCK_BYTES)


@dataclass(frozen=True)
class HttpAnswer:
    """The answer to a request: the connection, and the response, whose header has been read."""

    connected: socket.socket
    wire: Wire
    response: HTTPResponse

    def interrupt(self) -> None:
        """End a read in another thread."""
        with contextlib.suppress(OSError):  # either side has closed it already
            self.connected.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection."""
        self.response.close()
        self.connected.close()


def ask(place: SplitResult, deadline: float) -> HttpAnswer:
    """Send a request, and send it once more with user name and password if the host asks for them.

    It asks only the address's own host: it follows no redirect and uses no proxy of the environment.

    Args:
        place: Address, in parts.
        deadline: Time by the monotonic clock until which the whole answer but its body must come, in seconds.

    Raises:
        OSError, HTTPException, ValueError: no answer came, or it is not HTTP.
    """
    target = quote(place.path or "/", safe=_UNQUOTED)
    if place.query:
        target += f"?{quote(place.query, safe=_UNQUOTED)}"
    answer = _ask_once(place, target, {}, deadline)
    if answer.response.status != 401 or place.username is None:
        return answer
    challenges = answer.response.headers.get_all("WWW-Authenticate", [])
    authorization = _authorization(challenges, unquote(place.username), unquote(place.password or ""), target)
    if authorization is None:
        return answer
    answer.close()
    return _ask_once(place, target, {"Authorization": authorization}, deadline)


def _ask_once(place: SplitResult, target: str, headers: dict[str, str], deadline: float) -> HttpAnswer:
    left_s = max(0.001, deadline - time.monotonic())
    connection = HTTPConnection(unquote(place.hostname or ""), place.port or 80, timeout=left_s)
    try:
        connection.request("GET", target, headers={"Connection": "close", "User-Agent": "partsight", **headers})
        wire = Wire(connection.sock, deadline)
        response = HTTPResponse(cast(socket.socket, wire), method="GET")
        response.begin()
    except BaseException:
        connection.close()
        raise
    return HttpAnswer(connection.sock, wire, response)


def _authorization(challenges: Iterable[str], user: str, password: str, target: str) -> str | None:
    """Return the header that answers a challenge, Digest before Basic; None for other challenges."""
    known: dict[str, dict[str, str]] = {}
    for challenge in challenges:
        for one in re.split(r",\s*(?=(?:Basic|Digest)\s)", challenge, flags=re.IGNORECASE):
            scheme, _, rest = one.strip().partition(" ")
            known[scheme.lower()] = parse_keqv_list([item for item in parse_http_list(rest) if "=" in item])
    if "digest" in known:
        answered = _digest({name.lower(): value for name, value in known["digest"].items()}, user, password, target)
        if answered is not None:
            return answered
    return f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}" if "basic" in known else None


def _digest(asked: dict[str, str], user: str, password: str, target: str) -> str | None:
    """Return the answer to a Digest challenge (RFC 7616); None for an unknown hash or protection."""
    algorithm = asked.get("algorithm", "MD5").upper()
    name, qop = _HASHES.get(algorithm.removesuffix("-SESS")), asked.get("qop")
    if name is None or (qop is not None and "auth" not in re.split(r"[,\s]+", qop.lower())):
        return None

    def digest(*parts: str) -> str:
        return hashlib.new(name, ":".join(parts).encode(), usedforsecurity=False).hexdigest()

    realm, nonce, client_nonce = asked.get("realm", ""), asked.get("nonce", ""), secrets.token_hex(8)
    secret = digest(user, realm, password)
    if algorithm.endswith("-SESS"):
        secret = digest(secret, nonce, client_nonce)
    counted = (nonce,) if qop is None else (nonce, "00000001", client_nonce, "auth")
    fields = {"username": user, "realm": realm, "nonce": nonce, "uri": target}
    fields["response"] = digest(secret, *counted, digest("GET", target))
    if "opaque" in asked:
        fields["opaque"] = asked["opaque"]
    if qop is not None or algorithm.endswith("-SESS"):
        fields["cnonce"] = client_nonce
    quoted = ", ".join(f'{key}="{_escaped(value)}"' for key, value in fields.items())
    counter = "" if qop is None else ", qop=auth, nc=00000001"
    return f"Digest {quoted}{counter}" + (f", algorithm={asked['algorithm']}" if "algorithm" in asked else "")


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
