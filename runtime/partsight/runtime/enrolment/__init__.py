"""Parts come and go: new parts enter a package without training, and are evaluated before it is written.

The way, top down: `changes`, `new_parts`, `plan`, `build`, `evaluation`, `report`; `enrolment` calls them in order.
May import `core`, `images`, `inference`, `matching`, `package`, `recognition` and `calibration`.
"""

from typing import Any

from partsight.runtime.core import warn_renamed
from partsight.runtime.enrolment.enrolment import Enrolled, enroll
from partsight.runtime.enrolment.onnx_head import (
    BOUNDS_NAME,
    DIRECTIONS_NAME,
    PrototypeModel,
    find_prototypes,
    import_onnx,
)
from partsight.runtime.enrolment.report import Lookalike, NewPartReport

__all__ = [
    "BOUNDS_NAME",
    "DIRECTIONS_NAME",
    "Enrolled",
    "Lookalike",
    "NewPartReport",
    "PrototypeModel",
    "enroll",
    "find_prototypes",
    "import_onnx",
]


def __getattr__(name: str) -> Any:
    """Return a class by its old name, with a warning."""
    if name == "NewPart":
        warn_renamed("NewPart", "NewPartReport")
        return NewPartReport
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
