"""Draws the pictures of architecture.md: `python docs/draw_architecture.py` writes them into docs/images.

The rooms come from the table that tests/runtime/test_rooms.py holds the imports to, so the picture cannot disagree.
"""

import itertools
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"


@dataclass(frozen=True)
class Place:
    """Where a room stands in the picture, column and floor from the lower left, and its noun."""

    column: int
    floor: int
    noun: str


PLACES = {
    "images": Place(1, 1, "files, preprocessing"),
    "inference": Place(0, 1, "a network runs"),
    "signing": Place(1, 2, "who made it"),
    "matching": Place(0, 2, "frame over golden image"),
    "cameras": Place(2, 2, "frames"),
    "package": Place(0, 3, "the folder that travels"),
    "recognition": Place(0, 4, "frames in, parts out"),
    "calibration": Place(0, 5, "when is a part unknown"),
    "sinks": Place(1, 5, "results"),
    "enrolment": Place(0, 6, "parts come and go"),
    "line": Place(1, 6, "months without a stop"),
    "feedback": Place(2, 6, "what people said of answers"),
    "page": Place(1, 7, "what people see and do"),
    "cluster": Place(3, 6, "more than one machine"),
}
"""All rooms but `core`, on which every room stands."""

_BOX = (184, 46)
_GAP = (26, 40)
_STYLE = (
    "<style>text{font-family:system-ui,sans-serif;text-anchor:middle;fill:#1d2733}.name{font-size:14px;font-weight:600}"
    ".noun{font-size:11px;fill:#51606f}rect{fill:#eef3f8;stroke:#7b93ab;rx:6}path{stroke:#7b93ab;fill:none;"
    "marker-end:url(#head)}</style>"
    '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
    '<path d="M0 0L8 4L0 8z" style="fill:#7b93ab;stroke:none;marker-end:none"/></marker></defs>'
)


@dataclass(frozen=True)
class Box:
    """A box of a picture: its upper left corner in px, name, text under it, and the columns that it spans."""

    x: float
    y: float
    name: str
    noun: str
    columns: int = 1

    def draw(self) -> str:
        """Return its SVG."""
        height = _BOX[1]
        width = self.columns * (_BOX[0] + _GAP[0]) - _GAP[0]
        middle = self.x + width / 2
        return (
            f'<rect x="{self.x:g}" y="{self.y:g}" width="{width}" height="{height}"/>'
            f'<text class="name" x="{middle:g}" y="{self.y + 20:g}">{escape(self.name)}</text>'
            f'<text class="noun" x="{middle:g}" y="{self.y + 36:g}">{escape(self.noun)}</text>'
        )


def draw_rooms(allowed: Mapping[str, set[str]]) -> str:
    """Return the rooms as SVG, each above those that it imports; arrows that others imply are left out.

    Args:
        allowed: Of each room the rooms that it may import.

    Raises:
        ValueError: a room has no place, or stands on the floor of one that it imports or below.
    """
    top = max(place.floor for place in PLACES.values())
    boxes = {}
    for room, place in PLACES.items():
        x, y = _corner(place.column, top - place.floor)
        boxes[room] = Box(x, y, room, place.noun)
    arrows = []
    for room in sorted(allowed.keys() - {"core"}):
        for other in sorted(_direct(room, allowed) - {"core"}):
            if PLACES[other].floor >= PLACES[room].floor:
                raise ValueError(f"{room} imports {other}; expected a floor below it in PLACES")
            arrows.append(_down(boxes[room], boxes[other]))
    columns = 1 + max(place.column for place in PLACES.values())
    ground = Box(*_corner(0, top), "core", "errors, arrays, files: every room stands on it", columns)
    width, height = _corner(columns, top + 1)
    return _svg(width, height, [*arrows, *(box.draw() for box in (*boxes.values(), ground))])


def draw_way(steps: Sequence[tuple[str, str]], across: int = 4) -> str:
    """Return steps as SVG, one box each, from left to right in rows.

    Args:
        steps: Name and text of each step.
        across: Boxes in a row.
    """
    boxes = []
    for index, (name, text) in enumerate(steps):
        row, column = divmod(index, across)
        boxes.append(Box(*_corner(column, row), name, text))
    arrows = []
    for one, other in itertools.pairwise(boxes):
        if one.y == other.y:
            y = one.y + _BOX[1] / 2
            arrows.append(f'<path d="M{one.x + _BOX[0]:g} {y:g}H{other.x:g}"/>')
        else:
            arrows.append(_down(one, other))
    rows = -(-len(steps) // across)
    width = across * (_BOX[0] + _GAP[0]) + _GAP[0]
    return _svg(width, rows * (_BOX[1] + _GAP[1]), [*arrows, *(box.draw() for box in boxes)])


FRAME = [
    ("cameras", "Camera.read → Frame"),
    ("line.camera_worker", "numbers and counts it"),
    ("line.frame_queue", "waits, as the policy says"),
    ("line.dispatcher", "takes a batch"),
    ("images.preprocessing", "resize into (N, h, w, 3)"),
    ("inference.session", "scores of all parts"),
    ("matching.matcher", "laid over the candidates"),
    ("recognition.results", "label, or unknown"),
    ("sinks.record", "Record"),
    ("line.sink_worker", "one thread a sink"),
    ("sinks", "written; counted"),
]

GOLDEN_IMAGE = [
    ("train.catalog", "read and checked"),
    ("train.features", "backbone: embedding"),
    ("train.heads", "prototype of the part"),
    ("calibration", "varied: the threshold"),
    ("export", "ONNX, compared with Keras"),
    ("matching.bank", "prepared for matching"),
    ("package", "NAME.partsight"),
    ("recognition", "the line's Recognizer"),
]


def _corner(column: int, row: int) -> tuple[float, float]:
    return _GAP[0] + column * (_BOX[0] + _GAP[0]), _GAP[1] / 2 + row * (_BOX[1] + _GAP[1])


def _direct(room: str, allowed: Mapping[str, set[str]]) -> set[str]:
    return {other for other in allowed[room] if not any(other in allowed[between] for between in allowed[room])}


def _down(one: Box, other: Box) -> str:
    width, height = _BOX
    left, top, right, bottom = one.x + width / 2, one.y + height, other.x + width / 2, other.y
    middle = (top + bottom) / 2
    return f'<path d="M{left:g} {top:g}C{left:g} {middle:g} {right:g} {middle:g} {right:g} {bottom:g}"/>'


def _svg(width: float, height: float, parts: Sequence[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}">'
    ground = f'<rect width="{width:g}" height="{height:g}" style="fill:#fff;stroke:none"/>'
    return "\n".join([head, _STYLE, ground, *parts, "</svg>", ""])


def main() -> None:
    """Write the pictures."""
    sys.path.insert(0, str(ROOT))
    from tests.runtime.test_rooms import ALLOWED  # noqa: PLC0415

    for name, drawn in (
        ("rooms", draw_rooms(ALLOWED)),
        ("way_of_a_frame", draw_way(FRAME)),
        ("way_of_a_golden_image", draw_way(GOLDEN_IMAGE)),
    ):
        (IMAGES / f"{name}.svg").write_text(drawn, encoding="utf-8")


if __name__ == "__main__":
    main()
