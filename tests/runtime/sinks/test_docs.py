"""docs/results.md describes each sink correctly."""

import re
from pathlib import Path

import msgspec
import pytest

from partsight.runtime.sinks import SINKS
from partsight.runtime.sinks.address import Options
from partsight.runtime.sinks.appending import FileOptions
from partsight.runtime.sinks.images import ImagesOptions
from partsight.runtime.sinks.modbus import ModbusOptions
from partsight.runtime.sinks.mqtt import MqttOptions
from partsight.runtime.sinks.opcua import OpcUaOptions
from partsight.runtime.sinks.record import Record
from partsight.runtime.sinks.sqlite import SqliteOptions

DOCS = Path(__file__).parents[3] / "docs" / "results.md"
OPTIONS: tuple[type[Options], ...] = (
    FileOptions,
    SqliteOptions,
    ImagesOptions,
    MqttOptions,
    ModbusOptions,
    OpcUaOptions,
)


@pytest.fixture(scope="module")
def text() -> str:
    return DOCS.read_text(encoding="utf-8")


def test_example_is_a_record(text: str) -> None:
    example = re.search(r"```json\n(.*?)\n```", text, re.DOTALL)
    assert example is not None
    assert msgspec.json.decode(example[1], type=Record).to_json().decode() == example[1]


def test_every_field_scheme_and_option(text: str) -> None:
    names = [*Record.__struct_fields__, *(name for form in OPTIONS for name in form.__struct_fields__)]
    missing = [name for name in names if f"`{name}`" not in text]
    assert missing + [scheme for scheme in SINKS if f"`{scheme}:" not in text] == []
