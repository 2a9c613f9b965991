"""Settings of the page, and their address `[HOST]:PORT?option=value`."""

import re
from typing import Annotated
from urllib.parse import parse_qsl

import msgspec

from partsight.runtime.core import PageError
from partsight.runtime.sinks import parse_listen_address

_TIME = r"(?:[01]\d|2[0-3]):[0-5]\d"
_SHIFTS = re.compile(rf"{_TIME}(?:,{_TIME})*")

EXAMPLE = "':9200?data=page'"


class PageSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of the page.

    Attributes:
        host: Name or address to listen at; only this machine by default.
        port: Port to listen at; 0 for any free one.
        data: Folder of accounts, audit log, and the packages that people make on the page. `partsight account` makes
            it.
        feedback: Folder of the line's sink `images:`. Empty: the page keeps no frames, and nobody can review them.
        cert, key: PEM files of the server's certificate and its private key, for HTTPS.
        insecure: Whether the page may answer other machines without HTTPS: passwords then cross the network readably.
        approval: Whether a second engineer approves a package before the line takes it.
        idle_min: Minutes without a request after which a person must log in again.
        shifts: Local times at which shifts begin, separated by commas.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, msgspec.Meta(ge=0, le=65535)]
    data: Annotated[str, msgspec.Meta(min_length=1)]
    feedback: str = ""
    cert: str = ""
    key: str = ""
    insecure: bool = False
    approval: bool = False
    idle_min: Annotated[float, msgspec.Meta(gt=0, le=1440)] = 30.0
    shifts: str = "06:00,14:00,22:00"

    def __post_init__(self) -> None:
        """Check what one field says of another.

        Raises:
            ValueError: a time of `shifts` is malformed, or `cert` comes without `key`.
        """
        if not _SHIFTS.fullmatch(self.shifts) or list(self.starts) != sorted(set(self.starts)):
            raise ValueError(f"shifts is {self.shifts!r}; expected rising times such as 06:00,14:00,22:00")
        if bool(self.cert) != bool(self.key):
            raise ValueError("cert and key belong together; give both, or none")

    @property
    def starts(self) -> tuple[int, ...]:
        """Minutes after midnight at which shifts begin."""
        hours_and_minutes = (time.split(":") for time in self.shifts.split(","))
        return tuple(60 * int(hour) + int(minute) for hour, minute in hours_and_minutes)


def parse_page_address(text: str) -> PageSettings:
    """Return the settings of an address such as `:9200?data=page&feedback=kept`.

    Raises:
        PageError: it has no port, an unknown option, or an option with a wrong value.
    """
    listen, _, query = text.partition("?")
    known = ", ".join(PageSettings.__struct_fields__[2:])
    try:
        host, port = parse_listen_address(listen)
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
        if len(dict(pairs)) < len(pairs):
            raise ValueError("an option is given twice")
        if {"host", "port"} & dict(pairs).keys():
            raise ValueError("host and port stand before the question mark")
        return msgspec.convert({"host": host, "port": port, **dict(pairs)}, PageSettings, strict=False)
    except ValueError as error:
        raise PageError(
            f"page {text!r}: {error}; expected [HOST]:PORT?option=value, such as {EXAMPLE}; the options are: {known}"
        ) from error
