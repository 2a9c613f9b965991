"""Destinations of results: the record of a frame, and one module a kind of sink, opened by its address.

May import `core`, `cameras` and `recognition`.
"""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from partsight.runtime.core import SinkError, load_plugin, plugin_names
from partsight.runtime.sinks.address import Address, Options, name_of, parse, shown
from partsight.runtime.sinks.csv import escape_formula
from partsight.runtime.sinks.files import check_folder
from partsight.runtime.sinks.record import RECORD_VERSION, FrameEvent, KeptRecord, Record, record_answer
from partsight.runtime.sinks.serving import SeldomLog, is_loopback, log_exposed, parse_listen_address
from partsight.runtime.sinks.sink import CheckLine, Sink

__all__ = [
    "PLUGINS",
    "RECORD_VERSION",
    "SINKS",
    "Address",
    "CheckLine",
    "FrameEvent",
    "KeptRecord",
    "Options",
    "Record",
    "SeldomLog",
    "Sink",
    "check_address",
    "check_line",
    "escape_formula",
    "is_loopback",
    "log_exposed",
    "name_of",
    "open_sink",
    "parse",
    "parse_listen_address",
    "record_answer",
    "shown",
]

SINKS = {
    "csv": "partsight.runtime.sinks.csv",
    "images": "partsight.runtime.sinks.images",
    "jsonl": "partsight.runtime.sinks.jsonl",
    "modbus": "partsight.runtime.sinks.modbus",
    "mqtt": "partsight.runtime.sinks.mqtt",
    "mqtts": "partsight.runtime.sinks.mqtt",
    "opcua": "partsight.runtime.sinks.opcua",
    "sqlite": "partsight.runtime.sinks.sqlite",
}
"""Module of each built-in scheme, imported when a sink of that scheme is opened or checked."""

PLUGINS = "partsight.sinks"
"""Group of entry points by which other distributions add schemes; CONTRIBUTING.md lists the names that a plugin needs.

A built-in module and a plugin offer the same: `open_address`, `OPTIONS` and, only a plugin, `check_address`.
"""

_FILES = frozenset({"csv", "images", "jsonl", "sqlite"})
"""Schemes whose place is a file or a folder."""


def open_sink(address: str) -> Sink:
    """Open the sink at an address.

    Args:
        address: Address of the form `scheme:place?option=value`, such as `jsonl:results.jsonl`; docs/results.md lists
            the schemes.

    Raises:
        SinkError: the scheme or an option is not known, the sink cannot be opened, or a plugin does not work.
        DependencyError: the sink needs a library that is not installed; the message names the extra.
    """
    parsed = parse(address)
    return cast(Sink, _module(parsed).open_address(parsed))


def check_address(address: str) -> None:
    """Refuse an address at which no sink can be opened, without opening the sink.

    Raises:
        SinkError: the scheme or an option is not known, there is no folder for its file, or a plugin does not work.
    """
    parsed = parse(address)
    module = _module(parsed)
    options = _read_options(parsed, module)
    if parsed.scheme in SINKS:
        file = parsed.place if parsed.scheme in _FILES else getattr(options, "spool", "")
        if file and file != "-":
            check_folder(Path(file))
    elif hasattr(module, "check_address"):
        module.check_address(parsed)


def check_line(address: str, labels: Sequence[str], cameras: Sequence[str]) -> list[str]:
    """Return a sentence for each difference between a sink and a line, without opening the sink.

    Args:
        address: Address as for `open_sink`.
        labels: Labels of the line's package.
        cameras: Names of the line's cameras.

    Raises:
        SinkError: as `check_address`; or the sink would be of no use on such a line, see `Sink.check_line`.
    """
    parsed = parse(address)
    return _read_options(parsed, _module(parsed)).check_line(labels, cameras)


def _module(address: Address) -> Any:
    """Import the built-in module or the plugin of an address."""
    plugin = load_plugin(PLUGINS, address.scheme, SINKS, SinkError)
    if plugin is not None:
        return plugin
    if address.scheme not in SINKS:
        known = ", ".join(f"{name}:" for name in (*SINKS, *plugin_names(PLUGINS)))
        raise SinkError(f"sink {address} is not known; expected one of {known}")
    return import_module(SINKS[address.scheme])


def _read_options(address: Address, module: Any) -> Options:
    form = getattr(module, "OPTIONS", Options)
    if not (isinstance(form, type) and issubclass(form, Options)):
        raise SinkError(f"sink {address}: OPTIONS of {module.__name__} is {form!r}; expected a subclass of Options")
    return address.read_options(form)
