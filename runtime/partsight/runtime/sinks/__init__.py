"""Where results go: the record of a frame, and one module a kind of sink, opened by its address.

May import `core`, `cameras` and `recognition`.
"""

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from partsight.runtime.core import SinkError
from partsight.runtime.sinks.address import Address, Options, name_of, need, parse, shown
from partsight.runtime.sinks.files import need_folder
from partsight.runtime.sinks.record import FrameEvent, Record, answered
from partsight.runtime.sinks.serving import is_loopback, tell_exposed
from partsight.runtime.sinks.sink import CheckLine, Sink

__all__ = [
    "SINKS",
    "Address",
    "CheckLine",
    "FrameEvent",
    "Record",
    "Sink",
    "answered",
    "check_address",
    "check_line",
    "is_loopback",
    "name_of",
    "need",
    "open_sink",
    "parse",
    "shown",
    "tell_exposed",
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
"""Of each scheme the module whose `open_address` opens it; imported when the first such sink is opened."""

_OPTIONS = {
    "csv": "FileOptions",
    "images": "ImagesOptions",
    "jsonl": "FileOptions",
    "modbus": "ModbusOptions",
    "mqtt": "MqttOptions",
    "mqtts": "MqttOptions",
    "opcua": "OpcUaOptions",
    "sqlite": "SqliteOptions",
}
"""Of each scheme what its module reads options into."""

_FILES = frozenset({"csv", "images", "jsonl", "sqlite"})
"""Schemes whose place is a file or a folder."""


def open_sink(address: str) -> Sink:
    """Open the sink at an address.

    Args:
        address: `scheme:place?option=value`, such as `jsonl:results.jsonl`; docs/results.md lists them.

    Raises:
        SinkError: no sink is known for the address, an option is not known, or the sink cannot be opened.
        DependencyError: it needs a library that is not installed; the message names the extra.
    """
    parsed = _known(address)
    module = importlib.import_module(SINKS[parsed.scheme])
    return cast(Sink, module.open_address(parsed))


def check_address(address: str) -> None:
    """Refuse an address at which no sink can be opened, without opening the sink.

    Raises:
        SinkError: no sink is known for it, an option is wrong, or the folder of its file is not there.
    """
    options, parsed = _read_options(address), _known(address)
    file = parsed.place if parsed.scheme in _FILES else getattr(options, "spool", "")
    if file and file != "-":
        need_folder(Path(file))


def check_line(address: str, labels: Sequence[str], cameras: Sequence[str]) -> list[str]:
    """Return in words how a sink and a line differ, without opening the sink; see `Sink.check_line`.

    Args:
        address: as for `open_sink`.
        labels: Labels of the line's package.
        cameras: Names of the line's cameras.

    Raises:
        SinkError: as `check_address`; or the sink would be of no use on such a line.
    """
    return _read_options(address).check_line(labels, cameras)


def _read_options(address: str) -> Options:
    parsed = _known(address)
    module = importlib.import_module(SINKS[parsed.scheme])
    form: type[Options] = getattr(module, _OPTIONS[parsed.scheme])
    return parsed.read_options(form)


def _known(address: str) -> Address:
    parsed = parse(address)
    if parsed.scheme not in SINKS:
        raise SinkError(f"sink {parsed} is not known; expected one of {', '.join(f'{name}:' for name in SINKS)}")
    return parsed
