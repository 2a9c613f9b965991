"""The rooms of `partsight.runtime`: what each may import, and that others use what its `__init__` names."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import partsight.runtime

ROOT = Path(partsight.runtime.__path__[0])
PREFIX = "partsight.runtime."

ALLOWED = {
    "core": set(),
    "images": {"core"},
    "inference": {"core"},
    "signing": {"core"},
    "matching": {"core", "images", "inference"},
    "cameras": {"core", "images"},
    "package": {"core", "images", "matching", "signing"},
    "recognition": {"core", "images", "inference", "matching", "signing", "package"},
    "calibration": {"core", "images", "inference", "matching", "package", "recognition"},
    "sinks": {"core", "cameras", "recognition"},
    "enrolment": {"core", "images", "inference", "matching", "package", "recognition", "calibration"},
    "feedback": {"core", "images", "sinks"},
    "line": {
        "core",
        "images",
        "signing",
        "matching",
        "cameras",
        "package",
        "recognition",
        "calibration",
        "sinks",
    },
    "page": {
        "core",
        "images",
        "matching",
        "package",
        "recognition",
        "calibration",
        "sinks",
        "enrolment",
        "feedback",
        "line",
    },
    "cluster": {"core", "images", "inference", "matching", "package", "recognition", "signing", "sinks"},
}
"""Of each room the rooms that it may import: docs/architecture.md shows them as a picture."""

FLOORS = 8

BY_MODULE = {"matching.trace"}
"""Modules that another room imports by name: they need a library that the line does without."""


@dataclass(frozen=True)
class Import:
    """A `from partsight.runtime.ROOM[.MODULE] import NAME` of a module of another room."""

    importer: Path
    line: int
    module: str
    name: str

    @property
    def room(self) -> str:
        return self.module.partition(".")[0]


def imports_of(room: str) -> Iterator[Import]:
    for path in sorted((ROOT / room).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = node.names if isinstance(node, ast.Import | ast.ImportFrom) else []
            for alias in names:
                full = f"{node.module}.{alias.name}" if isinstance(node, ast.ImportFrom) else alias.name
                module = node.module or "" if isinstance(node, ast.ImportFrom) else alias.name
                if full.startswith(PREFIX):
                    inside = module.removeprefix(PREFIX.rstrip(".")).lstrip(".") or alias.name
                    yield Import(path, node.lineno, inside, alias.name)


def crossing(room: str) -> list[Import]:
    return [found for found in imports_of(room) if found.room != room]


def test_every_room_is_in_the_table() -> None:
    assert {path.parent.name for path in ROOT.glob("*/__init__.py")} == set(ALLOWED)
    assert {path.name for path in ROOT.glob("*.py")} == {"__init__.py", "moved.py"}


@pytest.mark.parametrize("room", ALLOWED)
def test_a_room_imports_only_what_the_table_allows(room: str) -> None:
    assert {found.room for found in crossing(room)} == ALLOWED[room]


@pytest.mark.parametrize("room", ALLOWED)
def test_a_room_uses_of_another_what_its_init_names(room: str) -> None:
    inner = [found for found in crossing(room) if found.module != found.room]
    assert [found for found in inner if found.module not in BY_MODULE] == []


@pytest.mark.parametrize("room", ALLOWED)
def test_a_room_has_a_docstring(room: str) -> None:
    doc = ast.get_docstring(ast.parse((ROOT / room / "__init__.py").read_text("utf-8"))) or ""
    assert 0 < len(doc.split("\n\n")[0]) <= 120
    assert set(re.findall(r"`(\w+)`", doc.partition("May import")[2])) == ALLOWED[room]


def test_the_house_has_few_floors() -> None:
    floors: dict[str, int] = {}
    for room, below in ALLOWED.items():  # in order: each stands on rooms above it in the table
        floors[room] = 1 + max((floors[other] for other in below), default=0)
    assert max(floors.values()) <= FLOORS
