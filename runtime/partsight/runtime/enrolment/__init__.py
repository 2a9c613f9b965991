"""Parts come and go: new parts enter a package without training, and are evaluated before it is written.

May import `calibration` and the rooms above it; no cameras, sinks or lines.
"""

from partsight.runtime.enrolment.enrolment import Enrolled, enroll
from partsight.runtime.enrolment.findings import NewPart
from partsight.runtime.enrolment.onnx_head import (
    BOUNDS_NAME,
    DIRECTIONS_NAME,
    PrototypeModel,
    find_prototypes,
    import_onnx,
)

__all__ = [
    "BOUNDS_NAME",
    "DIRECTIONS_NAME",
    "Enrolled",
    "NewPart",
    "PrototypeModel",
    "enroll",
    "find_prototypes",
    "import_onnx",
]
