"""Addresses of sinks: `scheme:place?option=value&option=value`.

They differ from those of cameras, where a query belongs to the camera and a user with a password is allowed.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import parse_qsl, urlsplit

import msgspec

from partsight.runtime.core import SinkError

_NETWORK = re.compile("(?<![^:])//.*", re.DOTALL)
_NO_USER = re.compile(r"//(\[[^]]*\]|[^/@:]*)(:\d*)?(/.*)?", re.DOTALL)
"""A host, perhaps a port, and after a slash any text, such as a topic with an @."""

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
_UNUSABLE = re.compile("[\0\ud800-\udc7f\udd00-\udfff]")
"""Characters that no path or host has. From U+DC80 to U+DCFF, Python writes bytes of a path that are not UTF-8."""

_HIDDEN = "***"

_KINDS = {"int": "a whole number", "float": "a number", "bool": "true or false"}
"""Types of options in words, by msgspec's names."""

_MAX_CHARACTERS = 4096
"""Limit of an address, the same as that of a path on Linux."""

_MAX_NUMBER = 1e12
"""Limit of options with a fraction; `inf` is beyond it."""

OptionsT = TypeVar("OptionsT", bound="Options")


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every sink's options: each field is an option, with its default and its limits."""

    def check_line(self, labels: Sequence[str], cameras: Sequence[str]) -> list[str]:  # noqa: ARG002 (most sinks need none)
        """Return a sentence for each difference between options and line; see `Sink.check_line`.

        Args:
            labels: Labels of the line's package.
            cameras: Names of the line's cameras.

        Raises:
            SinkError: the sink would be of no use on such a line.
        """
        return []


@dataclass(frozen=True)
class Address:
    """The parts of a sink's address.

    Attributes:
        scheme: Kind of sink.
        place: A path, or `//host:port/topic`.
        options: Options as texts.
        shown: The address as messages may show it, see `shown`.
    """

    scheme: str
    place: str
    options: dict[str, str]
    shown: str

    def __str__(self) -> str:
        """Return the address as messages may show it."""
        return self.shown

    def read_options(self, form: type[OptionsT]) -> OptionsT:
        """Return the options as numbers, truth values and texts.

        Args:
            form: Class of the options.

        Raises:
            SinkError: an option is not known, or its value is wrong.
        """
        known = ", ".join(form.__struct_fields__) or "none"
        unknown = [name for name in self.options if name not in form.__struct_fields__]
        if unknown:
            names = _HIDDEN if self.shown.endswith(_HIDDEN) else ", ".join(unknown)
            raise SinkError(f"sink {self}: option {names} is not known; its options are: {known}")
        try:
            options = msgspec.convert(self.options, form, strict=False)
        except (msgspec.ValidationError, UnicodeEncodeError) as error:
            raise SinkError(f"sink {self}: {self._describe(error)}; its options are: {known}") from error
        for name in form.__struct_fields__:
            value = getattr(options, name)
            if isinstance(value, float) and not abs(value) <= _MAX_NUMBER:
                raise SinkError(f"sink {self}: option {name} is {value}; expected at most {_MAX_NUMBER:g}")
        return options

    def _describe(self, error: Exception) -> str:
        """Return the option that msgspec refused, the text that it received, and the type that it expected."""
        found = re.match(r"Expected `(\w+)`.* at `\$\.(\w+)`", str(error))
        if found is None:
            return f"an option is wrong: {error}"
        kind, name = found.groups()
        value = _HIDDEN if self.shown.endswith(_HIDDEN) else repr(self.options[name])
        return f"option {name} is {value}; expected {_KINDS.get(kind, kind)}"

    def host_and_port(self, default_port: int, default_host: str = "127.0.0.1") -> tuple[str, int]:
        """Return the host and the port of `//host:port`.

        Args:
            default_port: Port of an address without one.
            default_host: Host of an address without one.

        Raises:
            SinkError: the place has another form, or host or port cannot exist.
        """
        if self.place and not self.place.startswith("//"):
            raise SinkError(f"sink {self}: expected {self.scheme}://host:port")
        try:
            parts = urlsplit(self.place)
            host, port = parts.hostname or default_host, default_port if parts.port is None else parts.port
            host.encode("idna")  # as a socket does
            if port == 0:
                raise ValueError("port 0")
        except ValueError as error:
            raise SinkError(f"sink {self}: {error}; expected {self.scheme}://host:port") from error
        return host, port

    def topic(self) -> str:
        """Return the text after `//host:port/`; empty if there is none."""
        return self.place.removeprefix("//").partition("/")[2]


def parse(address: str) -> Address:
    """Split an address into its parts.

    Raises:
        SinkError: it has no scheme, a malformed option, the same option twice, a password, or a character that no
            address has.
    """
    address = str(address)  # a caller may pass a path: the error below names the form of an address
    if len(address) > _MAX_CHARACTERS:
        raise SinkError(f"sink {shown(address)[:20]!r}…: {len(address)} characters; expected at most {_MAX_CHARACTERS}")
    scheme, colon, rest = address.partition(":")
    if not colon or not _SCHEME.fullmatch(scheme):
        raise SinkError(f"sink {shown(address)!r} has no scheme; expected SCHEME:PLACE, such as jsonl:results.jsonl")
    place, _, query = rest.partition("?")
    network = _NETWORK.search(place)  # also behind a second colon
    is_doubtful = network and "@" in rest and not _NO_USER.fullmatch(network[0])
    if is_doubtful or any("@" in pair.partition("=")[0] for pair in query.split("&")):  # no option has such a name
        raise SinkError(
            f"sink {scheme}: the address holds a user or a password, and partsight logs addresses; "
            "use the options username and password_file or password_env"
        )
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError as error:
        raise SinkError(f"sink {shown(address)}: malformed options; expected ?name=value&name=value") from error
    options = dict(pairs)
    if any(_UNUSABLE.search(text) for text in (place, *options, *options.values())):
        raise SinkError(f"sink {shown(address)!r}: it or an option holds a character that no path and no host has")
    if len(options) < len(pairs):
        raise SinkError(f"sink {shown(address)}: an option is given twice; expected each once")
    return Address(scheme, place, options, shown(address))


def shown(address: str) -> str:
    """Return an address as messages may show it: without options, user and password.

    Users mistype addresses, and a password may hold any character. So any text before the last `@` may be one, also
    before the `@` of an option, unless the host has ended before it.
    """
    scheme, colon, rest = address.partition(":")
    if not colon or not _SCHEME.fullmatch(scheme):
        scheme, colon, rest = "", "", address
    place, _, query = rest.partition("?")
    host = _NO_USER.fullmatch(place)
    if "@" in query and not (host and host[3]):
        place = _HIDDEN
    elif "@" in place:
        place = f"{_HIDDEN}@{place.rpartition('@')[2]}"
    return f"{scheme}{colon}{place}"


def name_of(address: str) -> str:
    """Return the name of a sink in logs and counters: its address, or `shown` if a password may be in it."""
    return shown(address) if _HIDDEN in shown(address) else address
