"""When is a part unknown: varied golden images, thresholds, and whether a set-up fits the golden images.

May import `recognition` and the rooms above it.
"""

from partsight.runtime.calibration.setup_check import MAX_FRAMES, MIN_FRAMES, SetupCheck, find_misfit
from partsight.runtime.calibration.thresholds import (
    Answered,
    Ranks,
    RejectCurve,
    Trial,
    answer_by_agreement,
    answer_by_score,
    first_size,
    golden_bank,
    matching_spec,
    reference_files,
    with_candidates,
    with_more_candidates,
)
from partsight.runtime.calibration.variation import Variation, vary

__all__ = [
    "MAX_FRAMES",
    "MIN_FRAMES",
    "Answered",
    "Ranks",
    "RejectCurve",
    "SetupCheck",
    "Trial",
    "Variation",
    "answer_by_agreement",
    "answer_by_score",
    "find_misfit",
    "first_size",
    "golden_bank",
    "matching_spec",
    "reference_files",
    "vary",
    "with_candidates",
    "with_more_candidates",
]
