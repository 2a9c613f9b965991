"""Addresses of cameras and sinks, from the command line and from configuration files."""

import contextlib
import random
from collections.abc import Iterator
from pathlib import Path

from partsight.runtime.cameras import check_address
from partsight.runtime.cameras.address import check_network_address, without_credentials
from partsight.runtime.sinks import SINKS
from partsight.runtime.sinks import check_address as check_sink
from partsight.runtime.sinks.address import Options, parse
from partsight.runtime.sinks.appending import FileOptions
from partsight.runtime.sinks.images import ImagesOptions
from partsight.runtime.sinks.modbus import ModbusOptions
from partsight.runtime.sinks.mqtt import MqttOptions
from partsight.runtime.sinks.sqlite import SqliteOptions
from tests.fuzz import wild
from tests.fuzz.surface import Case, check

_OPTIONS: tuple[type[Options], ...] = (FileOptions, ImagesOptions, ModbusOptions, MqttOptions, SqliteOptions)
_NAMES = sorted({name for form in _OPTIONS for name in form.__struct_fields__})
_CAMERAS = ("folder", "video", "usb", "genicam", "basler", "gige", "rtsp", "http", "https", "")
_SECRET = "hunter2"
"""A password that no printed address may contain."""


@contextlib.contextmanager
def open_sink_addresses(_folder: Path) -> Iterator[Case]:
    """Addresses of sinks: parsing and options, without opening."""

    def case(rng: random.Random) -> None:
        text = _sink(rng)
        check_sink(text)
        address = parse(text)
        check(_SECRET not in str(address), "an address shows a password")
        options = address.read_options(rng.choice(_OPTIONS))
        for name in options.__struct_fields__:
            value = getattr(options, name)
            check(not isinstance(value, float) or abs(value) < float("inf"), f"option {name} is {value}")
        host, port = address.host_and_port(1883)
        check(0 < port < 65536, f"port {port}")
        host.encode("idna")

    yield case


@contextlib.contextmanager
def open_camera_addresses(_folder: Path) -> Iterator[Case]:
    """Addresses of cameras: checks, without opening."""

    def case(rng: random.Random) -> None:
        address = _camera(rng)
        shown = without_credentials(address)
        check(_SECRET not in shown or "//" not in address, f"{shown} shows a password")
        check_address(address)
        if "://" in address:
            check_network_address(address)

    yield case


def _sink(rng: random.Random) -> str:
    scheme = rng.choice((*SINKS, wild.text(rng, 6)))
    target = rng.choice(
        (wild.text(rng), _network(rng), f"//{wild.text(rng)}", f"//host:1/{wild.text(rng)}", "//h/t", "")
    )
    pairs = [f"{_name(rng)}={wild.text(rng, 10)}" for _ in range(rng.choice((0, 0, 1, 1, 2, 5)))]
    pairs += [f"{rng.choice(_NAMES)}={wild.number(rng)}" for _ in range(rng.choice((0, 0, 1)))]
    return f"{scheme}{rng.choice((':', ':', ':', ''))}{target}" + (f"?{'&'.join(pairs)}" if pairs else "")


def _name(rng: random.Random) -> str:
    return rng.choice(_NAMES) if rng.random() < 0.8 else wild.text(rng, 8)


def _network(rng: random.Random) -> str:
    user = rng.choice(("", "", f"user:{_SECRET}@", f":{_SECRET}@", f"{_SECRET}@", f"a@b:{_SECRET}@"))
    host = rng.choice(("host", "127.0.0.1", "[::1]", "[", "[v1.x]", "a..b", "x" * 80, wild.text(rng, 8)))
    port = rng.choice(("", ":1883", ":0", ":-1", ":65536", ":", ":x", f":{wild.number(rng)}", ":" + "9" * 5000))
    return f"//{user}{host}{port}{rng.choice(('', '/', '/topic', f'/{wild.text(rng, 8)}'))}"


def _camera(rng: random.Random) -> str:
    scheme = rng.choice((*_CAMERAS, wild.text(rng, 6)))
    target = rng.choice((wild.text(rng), _network(rng), str(wild.number(rng)), "9" * 5000))
    return f"{scheme}{rng.choice((':', ':', ':', ''))}{target}"
