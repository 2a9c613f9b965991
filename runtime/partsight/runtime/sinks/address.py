"""Addresses of sinks: `scheme:place?option=value&option=value`."""

import importlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import TypeVar
from urllib.parse import parse_qsl, urlsplit

import msgspec

from partsight.runtime.core import DependencyError, SinkError

_NETWORK = re.compile("(?<![^:])//.*", re.DOTALL)
_NO_USER = re.compile(r"//(\[[^]]*\]|[^/@:]*)(:\d*)?(/.*)?", re.DOTALL)
"""A host, perhaps a port, and after a slash anything, such as a topic with an @."""

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
_UNUSABLE = re.compile("[\0\ud800-\udc7f\udd00-\udfff]")
"""What no path or host has. Of halves of surrogate pairs, those from U+DC80 on stand for bytes of a path."""

_HIDDEN = "***"

_LONGEST = 4096
"""Characters of an address: as many as Linux lets a path have."""

_LARGEST = 1e12
"""Of numbers with a fraction; beyond it lies "inf"."""

OptionsT = TypeVar("OptionsT", bound="Options")


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every sink's options: fields are options, their defaults and limits those of the option."""

    def check_line(self, labels: Sequence[str], cameras: Sequence[str]) -> list[str]:  # noqa: ARG002 (of no use to most)
        """Return in words how options and line differ; see `Sink.check_line`, for a sink that is not open.

        Args:
            labels: Labels of the line's package.
            cameras: Names of the line's cameras.

        Raises:
            SinkError: the sink would be of no use on such a line.
        """
        return []


@dataclass(frozen=True)
class Address:
    """A sink's address, taken apart.

    Attributes:
        scheme: what kind of sink.
        place: a path, or `//host:port/topic`.
        options: as they were written.
        shown: what messages may carry of it.
    """

    scheme: str
    place: str
    options: dict[str, str]
    shown: str

    def __str__(self) -> str:
        """Return what messages may carry."""
        return self.shown

    def read_options(self, form: type[OptionsT]) -> OptionsT:
        """Return the options as numbers, truths and texts.

        Raises:
            SinkError: one is not known, or not what it has to be.
        """
        known = ", ".join(form.__struct_fields__) or "none"
        unknown = [name for name in self.options if name not in form.__struct_fields__]
        if unknown:
            names = _HIDDEN if self.shown.endswith(_HIDDEN) else ", ".join(unknown)
            raise SinkError(f"sink {self}: option {names} is not known; its options are: {known}")
        try:
            options = msgspec.convert(self.options, form, strict=False)
        except (msgspec.ValidationError, UnicodeEncodeError) as error:
            raise SinkError(f"sink {self}: an option is wrong: {error}; its options are: {known}") from error
        for name in form.__struct_fields__:
            value = getattr(options, name)
            if isinstance(value, float) and not abs(value) <= _LARGEST:
                raise SinkError(f"sink {self}: option {name} is {value}; expected at most {_LARGEST:g}")
        return options

    def host_and_port(self, default_port: int, default_host: str = "127.0.0.1") -> tuple[str, int]:
        """Return the host and the port of `//host:port`.

        Raises:
            SinkError: the place is none, or no host or port can be called so.
        """
        if self.place and not self.place.startswith("//"):
            raise SinkError(f"sink {self}: expected {self.scheme}://host:port")
        try:
            parts = urlsplit(self.place)
            host, port = parts.hostname or default_host, default_port if parts.port is None else parts.port
            host.encode("idna")  # what a socket makes of it
            if port == 0:
                raise ValueError("port 0")
        except ValueError as error:
            raise SinkError(f"sink {self}: {error}; expected {self.scheme}://host:port") from error
        return host, port

    def topic(self) -> str:
        """Return what follows `//host:port/`; empty if nothing does."""
        return self.place.removeprefix("//").partition("/")[2]


def parse(address: str) -> Address:
    """Take an address apart.

    Raises:
        SinkError: it has no scheme, a malformed option, the same option twice, a password, or what no address has.
    """
    address = str(address)  # of a path, to which the error below names the form of an address
    if len(address) > _LONGEST:
        raise SinkError(f"sink {shown(address)[:20]!r}…: {len(address)} characters; expected at most {_LONGEST}")
    scheme, colon, rest = address.partition(":")
    if not colon or not _SCHEME.fullmatch(scheme):
        raise SinkError(f"sink {shown(address)!r} has no scheme; expected SCHEME:PLACE, such as jsonl:results.jsonl")
    place, _, query = rest.partition("?")
    network = _NETWORK.search(place)  # also behind a second colon
    is_doubtful = network and "@" in rest and not _NO_USER.fullmatch(network[0])
    if is_doubtful or any("@" in pair.partition("=")[0] for pair in query.split("&")):  # no option is called so
        raise SinkError(
            f"sink {scheme}: the address holds a user or a password, and addresses are logged; "
            "name the user by an option and the file or the variable that holds the password"
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
    """Return what messages may carry of an address: no options, which name what is secret, and no user or password.

    Whatever stands before the last `@` may be one, for users mistype addresses; that of an option as well, unless the
    host has ended before: a password may hold any character.
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
    """Return what a sink is called in logs and counters: its address, or what of it may be shown."""
    return shown(address) if _HIDDEN in shown(address) else address


def need(library: str, extra: str) -> ModuleType:
    """Import an optional library.

    Raises:
        DependencyError: it is not installed.
    """
    try:
        return importlib.import_module(library)
    except ImportError as error:
        raise DependencyError(
            f"{library.partition('.')[0]} cannot be imported ({error}); install it: pip install 'partsight[{extra}]'"
        ) from error
