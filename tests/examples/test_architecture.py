"""The pictures and the table of docs/architecture.md show the rooms as they are."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from tests.runtime.test_rooms import ALLOWED
from tests.runtime.test_rooms import ROOT as ROOMS

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "architecture.md").read_text("utf-8")


@pytest.fixture(scope="module")
def drawing() -> ModuleType:
    spec = importlib.util.spec_from_file_location("draw_architecture", DOCS / "draw_architecture.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_pictures_are_current(drawing: ModuleType) -> None:
    drawn = {
        "rooms": drawing.draw_rooms(ALLOWED),
        "way_of_a_frame": drawing.draw_way(drawing.FRAME),
        "way_of_a_golden_image": drawing.draw_way(drawing.GOLDEN_IMAGE),
    }
    for name, picture in drawn.items():
        assert picture == (DOCS / "images" / f"{name}.svg").read_text("utf-8"), "run python docs/draw_architecture.py"


def test_the_table_names_every_room() -> None:
    section = PAGE.partition("## Rooms")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == set(ALLOWED)


def test_the_modules_of_both_ways_exist(drawing: ModuleType) -> None:
    roots = (ROOMS, ROOMS.parents[2] / "train" / "partsight", ROOMS.parents[2] / "export" / "partsight")
    for step, _ in (*drawing.FRAME, *drawing.GOLDEN_IMAGE):
        path = step.replace(".", "/")
        assert any((root / path).exists() or (root / f"{path}.py").exists() for root in roots), step


def test_the_files_of_the_page_exist() -> None:
    roots = (ROOMS, *(ROOMS.parents[2] / name / "partsight" for name in ("train", "export")), DOCS.parent)
    names = re.findall(r"`([\w/]+\.py)`", PAGE)
    assert [name for name in names if not any((root / name).exists() for root in roots)] == []
