"""The file of a line: TOML, whose keys are the options of `partsight run`."""

import argparse
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from partsight.cli.line_config import CameraConfig, ConfigError
from partsight.cli.options import (
    LOG_FORMS,
    PRECISIONS,
    TRIGGERS,
    above_zero,
    finite,
    one_of,
    policy,
    positive,
    region,
    whole,
)
from partsight.runtime.cameras import CameraOptions
from partsight.runtime.core import CameraError

MAX_BYTES = 1_000_000

Reader = Callable[[Any], Any]


def read_line_file(path: str | Path) -> dict[str, Any]:
    """Read the file and return the attributes of `LineConfig` that it names.

    Raises:
        ConfigError: it cannot be read, is no TOML, or a key is not known or wrong; it names all such keys.
    """
    table = _read_toml(Path(path))
    faults: list[str] = []
    values = _read_table(table, _LINE, "", faults)
    if "cameras" in values:
        values["cameras"] = {name: _read_camera(name, camera, faults) for name, camera in values["cameras"].items()}
    if faults:
        raise ConfigError("\n  ".join([f"{path}:", *faults] if len(faults) > 1 else [f"{path}: {faults[0]}"]))
    return values


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error}); expected a TOML file") from error
    if len(data) > MAX_BYTES:
        raise ConfigError(f"{path}: has more than {MAX_BYTES:,} bytes; expected a line's TOML file")
    try:
        return tomllib.loads(data.decode("utf-8-sig"))  # Windows' editors put a mark before it
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: is no TOML in UTF-8: {error}") from error


def _read_table(
    table: Mapping[str, Any], readers: Mapping[str, Reader], where: str, faults: list[str]
) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key not in readers:
            known = ", ".join(name for name in readers if name not in _DEPRECATED)
            faults.append(f"{where}{key} is not known; expected one of {known}")
            continue
        try:
            values[key] = readers[key](value)
        except argparse.ArgumentTypeError as error:
            faults.append(f"{where}{key}: {error}")
    return values


def _read_camera(name: str, table: Mapping[str, Any], faults: list[str]) -> CameraConfig:
    values = _read_table(table, _CAMERA, f"cameras.{name}.", faults)
    if "address" not in table:
        faults.append(f'cameras.{name}.address is not there; expected one, such as address = "usb:0"')
    address = values.pop("address", "")
    own = {key: values.pop(key) for key in ("policy", "takt_ms") if key in values}
    try:
        return CameraConfig(address, CameraOptions(**values), **own)
    except CameraError as error:
        faults.append(f"cameras.{name}: {error}")
        return CameraConfig(address)


def _number(parse: Callable[[str], Any]) -> Reader:
    """Read a number as the option's text would be; a text in quotes is none."""
    return lambda value: parse(repr(value))


def _text(parse: Callable[[str], str] = str) -> Reader:
    def read(value: Any) -> str:
        if not isinstance(value, str) or not value:
            raise argparse.ArgumentTypeError(f"received {value!r}; expected a text in quotes")
        return parse(value)

    return read


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(item, str) for item in value):
        raise argparse.ArgumentTypeError(f'received {value!r}; expected a list of texts, as ["a", "b"]')
    return tuple(value)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise argparse.ArgumentTypeError(f"received {value!r}; expected true or false")
    return value


def _region(value: Any) -> tuple[int, int, int, int]:
    if not isinstance(value, list):
        raise argparse.ArgumentTypeError(f"received {value!r}; expected [X, Y, WIDTH, HEIGHT] in pixels")
    return region(",".join(map(repr, value)))


def _tables(value: Any) -> dict[str, dict[str, Any]]:
    # What was received is not shown: an address may hold a password.
    if not isinstance(value, dict) or not all(isinstance(table, dict) for table in value.values()):
        raise argparse.ArgumentTypeError("received something else than tables; expected [cameras.NAME] for each camera")
    return value


def _address(value: Any) -> str:
    if not isinstance(value, str):
        raise argparse.ArgumentTypeError(f"received a {type(value).__name__}; expected an address in quotes")
    return value


_CAMERA: Mapping[str, Reader] = {
    "address": _address,
    "exposure_us": _number(above_zero),
    "gain_db": _number(finite),
    "fps": _number(above_zero),
    "region": _region,
    "trigger": _text(one_of(TRIGGERS)),
    "timeout_s": _number(above_zero),
    "policy": _text(policy),
    "takt_ms": _number(above_zero),
}

_LINE: Mapping[str, Reader] = {
    "package": _text(),
    "cameras": _tables,
    "sinks": _texts,
    "provider": _text(),
    "precision": _text(one_of(PRECISIONS)),
    "batch": _number(positive),
    "cache": _text(),
    "threads": _number(positive),
    "comparers": _number(whole),
    "threshold": _number(finite),
    "top": _number(positive),
    "trusted_keys": _texts,
    "policy": _text(policy),
    "takt_ms": _number(above_zero),
    "watch": _flag,
    "log": _text(one_of(LOG_FORMS)),
    "metrics": _text(),
}

_DEPRECATED = frozenset({"comparers"})
"""Keys that a file may still have; they have no effect, and no message names them."""
