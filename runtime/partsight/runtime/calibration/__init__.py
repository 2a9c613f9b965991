"""When is a part unknown: thresholds from varied golden images, and whether a set-up fits the golden images.

The way, top down: golden images, `variation`, varied images, `answers`, `thresholds`. `candidates` says how many golden
images matching compares a frame with; `setup_check` finds a difference that makes refused frames fit.
May import `core`, `matching`, `package` and `recognition`.
"""

from partsight.runtime.calibration.answers import VariedAnswers, answer_by_agreement, answer_by_score
from partsight.runtime.calibration.candidates import (
    Ranks,
    rank_by_score,
    with_candidates,
    with_more_candidates,
)
from partsight.runtime.calibration.fit import MIN_KEPT, Tolerances, ToleranceSeries, fit_table, measure_fit
from partsight.runtime.calibration.setup_check import MAX_FRAMES, MIN_FRAMES, SetupCheck, find_misfit
from partsight.runtime.calibration.thresholds import RejectCurve, choose_threshold, false_accept, false_reject
from partsight.runtime.calibration.variation import Variation, vary

__all__ = [
    "MAX_FRAMES",
    "MIN_FRAMES",
    "MIN_KEPT",
    "Ranks",
    "RejectCurve",
    "SetupCheck",
    "ToleranceSeries",
    "Tolerances",
    "Variation",
    "VariedAnswers",
    "answer_by_agreement",
    "answer_by_score",
    "choose_threshold",
    "false_accept",
    "false_reject",
    "find_misfit",
    "fit_table",
    "measure_fit",
    "rank_by_score",
    "vary",
    "with_candidates",
    "with_more_candidates",
]
