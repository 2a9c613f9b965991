"""Sinks: where results go."""

import importlib
from typing import cast

from partsight.runtime.errors import SinkError
from partsight.runtime.sinks.address import Address, parse
from partsight.runtime.sinks.sink import Sink

__all__ = ["SINKS", "Sink", "check_address", "open_sink"]

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
    """Refuse an address of no sink that is known, or with a wrong option, without opening the sink.

    Raises:
        SinkError: it is such an address.
    """
    parsed = _known(address)
    module = importlib.import_module(SINKS[parsed.scheme])
    parsed.read_options(getattr(module, _OPTIONS[parsed.scheme]))


def _known(address: str) -> Address:
    parsed = parse(address)
    if parsed.scheme not in SINKS:
        raise SinkError(f"sink {parsed} is not known; expected one of {', '.join(f'{name}:' for name in SINKS)}")
    return parsed
