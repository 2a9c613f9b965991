"""A request by HTTP: one host, asked with a deadline, and with user name and password if it wants them."""

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
_LEFT_AS_IT_IS = "/?%:@!$&'()*+,;=~"  # in a path or query: whoever wrote the address has quoted the rest


class Wire(io.RawIOBase):
    """The bytes of a socket until a deadline, which a sender cannot put off by sending them one by one."""

    def __init__(self, connected: socket.socket, deadline: float) -> None:
        self.deadline = deadline
        self._socket = connected

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        """Wait for bytes; TimeoutError when the deadline has passed."""
        left_s = self.deadline - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        self._socket.settimeout(left_s)
        return self._socket.recv_into(buffer)

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Return what `HTTPResponse` asks of a socket. A real socket's file cannot be read on after a timeout."""
        return io.BufferedReader(self, _BLOCK_BYTES)


@dataclass(frozen=True)
class Answer:
    """A request that was answered: its connection and the response, of which the header was read."""

    connected: socket.socket
    wire: Wire
    response: HTTPResponse

    def interrupt(self) -> None:
        """End a read in another thread."""
        with contextlib.suppress(OSError):  # closed already, by either side
            self.connected.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection."""
        self.response.close()
        self.connected.close()


def ask(place: SplitResult, deadline: float) -> Answer:
    """Ask, and ask once more with user name and password where the host wants them.

    No redirect is followed and no proxy of the environment is used: only the address's own host is asked.

    Args:
        place: the address, in parts.
        deadline: for the whole answer but its body, by the monotonic clock.

    Raises:
        OSError, HTTPException, ValueError: no answer, or one that is not HTTP.
    """
    target = quote(place.path or "/", safe=_LEFT_AS_IT_IS)
    if place.query:
        target += f"?{quote(place.query, safe=_LEFT_AS_IT_IS)}"
    answer = _ask_once(place, target, {}, deadline)
    if answer.response.status != 401 or place.username is None:
        return answer
    challenges = answer.response.headers.get_all("WWW-Authenticate", [])
    authorization = _authorization(challenges, unquote(place.username), unquote(place.password or ""), target)
    if authorization is None:
        return answer
    answer.close()
    return _ask_once(place, target, {"Authorization": authorization}, deadline)


def _ask_once(place: SplitResult, target: str, headers: dict[str, str], deadline: float) -> Answer:
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
    return Answer(connection.sock, wire, response)


def _authorization(challenges: Iterable[str], user: str, password: str, target: str) -> str | None:
    """Return the header that answers a challenge, Digest before Basic; None if neither can be answered."""
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
    """Return the answer to a Digest challenge (RFC 7616); None for a hash or a protection that is not known."""
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
    said = {"username": user, "realm": realm, "nonce": nonce, "uri": target}
    said["response"] = digest(secret, *counted, digest("GET", target))
    if "opaque" in asked:
        said["opaque"] = asked["opaque"]
    if qop is not None or algorithm.endswith("-SESS"):
        said["cnonce"] = client_nonce
    quoted = ", ".join(f'{key}="{_escaped(value)}"' for key, value in said.items())
    counter = "" if qop is None else ", qop=auth, nc=00000001"
    return f"Digest {quoted}{counter}" + (f", algorithm={asked['algorithm']}" if "algorithm" in asked else "")


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
