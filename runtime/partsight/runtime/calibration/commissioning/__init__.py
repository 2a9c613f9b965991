"""Commissioning: a package is fitted to the frames of a line.

`line_fit` calls `frames`, `line_answers`, `clear`, `set_up`, `measured_line`, `reference_trials`, `decision` and
`held_out` in this order. `commission` then calls `failures`, `verdict`, `report` and `writing`.
"""

from partsight.runtime.calibration.commissioning.commission import commission
from partsight.runtime.calibration.commissioning.commissioned import Commissioned, FramesUsed, frames_for
from partsight.runtime.calibration.commissioning.failures import Confusion, FailedFrame, PartFit
from partsight.runtime.calibration.commissioning.frames import LineFrame, LineFrames, read_line_frames
from partsight.runtime.calibration.commissioning.held_out import Outcome
from partsight.runtime.calibration.commissioning.measured_line import MeasuredLine, Spread
from partsight.runtime.calibration.commissioning.reference_trials import ReferenceTrial
from partsight.runtime.calibration.commissioning.verdict import percent
from partsight.runtime.calibration.commissioning.writing import REPORT_FILE, undo_commissioning

__all__ = [
    "REPORT_FILE",
    "Commissioned",
    "Confusion",
    "FailedFrame",
    "FramesUsed",
    "LineFrame",
    "LineFrames",
    "MeasuredLine",
    "Outcome",
    "PartFit",
    "ReferenceTrial",
    "Spread",
    "commission",
    "frames_for",
    "percent",
    "read_line_frames",
    "undo_commissioning",
]
