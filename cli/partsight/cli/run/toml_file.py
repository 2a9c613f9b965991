"""The TOML file of `partsight run --config`. Its keys are the attributes of `LineConfig` and of `CameraConfig`."""

import reprlib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict, get_type_hints

import msgspec
from msgspec import Meta

from partsight.cli.options import LOG_FORMS, POLICY, PRECISIONS, TRIGGERS, renamed
from partsight.cli.run.config import CameraConfig, ConfigError
from partsight.runtime.cameras import CameraOptions
from partsight.runtime.core import CameraError

MAX_BYTES = 1_000_000

_LARGEST = 1.7976931348623157e308  # so that infinity is refused

# The description of a type completes "received ...; expected ...".
Text = Annotated[str, Meta(min_length=1, description="a text in quotes")]
Texts = Annotated[tuple[str, ...], Meta(min_length=1, description='a list of texts, such as ["a", "b"]')]
Flag = Annotated[bool, Meta(description="true or false")]
Count = Annotated[int, Meta(ge=1, description="a whole number of at least 1")]
Device = Annotated[
    Annotated[int, Meta(ge=0)] | Annotated[tuple[Annotated[int, Meta(ge=0)], ...], Meta(min_length=1)],
    Meta(description="a whole number from 0 on, or a list of them"),
]
Number = Annotated[float, Meta(ge=-_LARGEST, le=_LARGEST, description="a number")]
Positive = Annotated[float, Meta(gt=0, le=_LARGEST, description="a number above 0")]
PolicyName = Annotated[str, Meta(pattern=rf"\A({POLICY})\Z", description="latest, queue:N or block")]
Precision = Annotated[Literal["fp32", "bf16", "fp16", "int8"], Meta(description=f"one of {', '.join(PRECISIONS)}")]
LogForm = Annotated[Literal["text", "json"], Meta(description=f"one of {', '.join(LOG_FORMS)}")]
Trigger = Annotated[Literal["free", "hardware", "software"], Meta(description=f"one of {', '.join(TRIGGERS)}")]
Region = Annotated[tuple[int, int, int, int], Meta(description="[X, Y, WIDTH, HEIGHT] in pixels")]
Address = Annotated[str, Meta(description='an address in quotes, such as "usb:0"')]
Cameras = Annotated[dict[str, dict[str, Any]], Meta(description="a table [cameras.NAME] for each camera")]


class LineKeys(TypedDict, total=False):
    """Keys of the line."""

    package: Text
    cameras: Cameras
    sinks: Texts
    provider: Text
    precision: Precision
    batch: Count
    cache: Text
    device: Device
    threads: Count
    threshold: Number
    top: Count
    trusted_keys: Texts
    policy: PolicyName
    deadline_ms: Positive
    watch: Flag
    log: LogForm
    metrics: Text
    page: Text


class CameraKeys(TypedDict, total=False):
    """Keys of the table [cameras.NAME] of one camera."""

    address: Address
    exposure_us: Positive
    gain_db: Number
    fps: Positive
    region: Region
    trigger: Trigger
    timeout_s: Positive
    policy: PolicyName
    deadline_ms: Positive


_RENAMED = {"takt_ms": "deadline_ms"}
_MAY_HOLD_PASSWORD = frozenset({"address", "cameras", "sinks"})


def read_line_file(path: str | Path) -> dict[str, Any]:
    """Read the file and return the attributes of `LineConfig` that it sets.

    Raises:
        ConfigError: The file cannot be read, is not TOML, or has wrong or unknown keys; the message names all of them.
    """
    reader = _Reader(Path(path))
    values = reader.convert(_read_toml(Path(path)), LineKeys, "")
    if isinstance(values.get("device"), int):
        values["device"] = (values["device"],)
    if "cameras" in values:
        values["cameras"] = {name: reader.camera(name, table) for name, table in values["cameras"].items()}
    if reader.faults:
        faults = reader.faults
        raise ConfigError("\n  ".join([f"{path}:", *faults] if len(faults) > 1 else [f"{path}: {faults[0]}"]))
    return values | ({"warnings": tuple(reader.warnings)} if reader.warnings else {})


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error}); expected a TOML file") from error
    if len(data) > MAX_BYTES:
        raise ConfigError(f"{path}: has more than {MAX_BYTES:,} bytes; expected the TOML file of a line")
    try:
        return tomllib.loads(data.decode("utf-8-sig"))  # some editors on Windows write a byte order mark
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: is not TOML in UTF-8: {error}") from error


class _Reader:
    """Converts the tables of one file, and collects all faults and warnings."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.faults: list[str] = []
        self.warnings: list[str] = []

    def convert(self, table: Mapping[str, Any], keys: type, where: str) -> dict[str, Any]:
        """Return the values that are right; `where` stands before each key in messages."""
        kinds, values = get_type_hints(keys, include_extras=True), {}
        for given, value in table.items():
            key = _RENAMED.get(given, given)
            if key not in kinds or (given != key and key in table):
                self.faults.append(f"{where}{given} is not known; expected one of {', '.join(kinds)}")
                continue
            if given != key:
                self.warnings.append(f"{self.path}: {renamed(where + given, key)}")
            try:
                values[key] = msgspec.convert(value, kinds[key])
            except msgspec.ValidationError:
                shown = f"a {type(value).__name__}" if key in _MAY_HOLD_PASSWORD else reprlib.repr(value)
                expected = kinds[key].__metadata__[0].description
                self.faults.append(f"{where}{given}: received {shown}; expected {expected}")
        return values

    def camera(self, name: str, table: Mapping[str, Any]) -> CameraConfig:
        """Return one camera, with as much as is right in its table."""
        values = self.convert(table, CameraKeys, f"cameras.{name}.")
        if "address" not in table:
            self.faults.append(f'cameras.{name}.address is missing; expected one, such as address = "usb:0"')
        address = values.pop("address", "")
        own = {key: values.pop(key) for key in ("policy", "deadline_ms") if key in values}
        try:
            return CameraConfig(address, CameraOptions(**values), **own)
        except CameraError as error:
            self.faults.append(f"cameras.{name}: {error}")
            return CameraConfig(address)
