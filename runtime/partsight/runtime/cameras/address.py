"""Addresses of cameras: their parts, and their form for logs, without passwords."""

import re
from urllib.parse import urlsplit

from partsight.runtime.core import CameraError

_SECRET = re.compile(r"(?i)\b(user\w*|pass\w*|pwd|token|secret|auth\w*|\w*key|sig\w*)=[^&/?]*")

_UNUSABLE = re.compile("[\0-\x20\x7f\ud800-\udfff]")
"""Characters that an address must write in percent, or that would end a line of the request."""


def without_credentials(address: str) -> str:
    """Return an address for logs and errors: without user name, password and values such as that of `password=`.

    Everything before the last `@` counts as credentials, so that a password with `/` in it stays hidden, too.
    """
    scheme, separator, rest = address.partition("//")  # a colon may have been forgotten
    if not separator:  # or a slash
        scheme, separator, rest = address.partition(":")
        if scheme in ("folder", "video"):  # a path may hold any character
            return address
    shown = _SECRET.sub(r"\1=***", rest.rpartition("@")[2])
    return f"{scheme}{separator}{shown}"


def check_network_address(address: str) -> None:
    """Refuse a network address without a clear host.

    Raises:
        CameraError: the address has no host, or an `@` after the host: a part of a password may stand there, and logs
            would show it.
    """
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname or "", parts.port
        host.encode("idna")  # as a socket does
        if _UNUSABLE.search(address):
            raise ValueError("a space or a control character")
    except ValueError as error:
        raise CameraError(
            f"{without_credentials(address)!r}: not an address; expected {_form(address)}, "
            "with %40 for @, %2F for / and %3A for : in a user name or password"
        ) from error
    if not host or "@" in f"{parts.path}{parts.query}{parts.fragment}":
        raise CameraError(
            f"{without_credentials(address)}: its host is not clear; expected {_form(address)}, "
            "with %40 for @ and %2F for / in a user name, password or path"
        )


def _form(address: str) -> str:
    return f"{address.partition(':')[0]}://USER:PASSWORD@HOST:PORT/PATH"
