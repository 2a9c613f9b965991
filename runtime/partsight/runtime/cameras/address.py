"""Addresses of cameras: their parts, and how they are shown without passwords."""

import re
from urllib.parse import urlsplit

from partsight.runtime.core import CameraError

_SECRET = re.compile(r"(?i)\b(user\w*|pass\w*|pwd|token|secret|auth\w*|\w*key|sig\w*)=[^&/?]*")

_UNUSABLE = re.compile("[\0-\x20\x7f\ud800-\udfff]")
"""What must be written in percent, and what would end a line of the request."""


def without_credentials(address: str) -> str:
    """Return an address as it may be shown: no user name, no password, no value of `password=` and its like.

    Whatever stands before the last `@` is taken for credentials, so that a password with `/` in it is not shown either.
    """
    scheme, separator, rest = address.partition("//")  # a colon may have been forgotten
    if not separator:  # or a slash
        scheme, separator, rest = address.partition(":")
        if scheme in ("folder", "video"):  # whose names may hold anything
            return address
    shown = _SECRET.sub(r"\1=***", rest.rpartition("@")[2])
    return f"{scheme}{separator}{shown}"


def check_network_address(address: str) -> None:
    """Refuse a network address whose host cannot be told.

    Raises:
        CameraError: no host, or an `@` after the host: a password may be in its place, and would be shown.
    """
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname or "", parts.port
        host.encode("idna")  # what a socket makes of it
        if _UNUSABLE.search(address):
            raise ValueError("a space or a control character")
    except ValueError as error:
        raise CameraError(
            f"{without_credentials(address)!r}: not an address; expected {_form(address)}, "
            "with %40 for @, %2F for / and %3A for : in a user name or password"
        ) from error
    if not host or "@" in f"{parts.path}{parts.query}{parts.fragment}":
        raise CameraError(
            f"{without_credentials(address)}: its host cannot be told; expected {_form(address)}, "
            "with %40 for @ and %2F for / in a user name, password or path"
        )


def _form(address: str) -> str:
    return f"{address.partition(':')[0]}://USER:PASSWORD@HOST:PORT/PATH"
