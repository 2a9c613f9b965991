"""When is a part unknown: thresholds from varied golden images, and whether a set-up fits the golden images.

The way, top down: golden images, `variation`, varied images, `answers`, `thresholds`. `candidates` says how many golden
images matching compares a frame with; `setup_check` finds a difference that makes refused frames fit.
The folder `commissioning` fits a package to the frames of a line.
May import `core`, `images`, `inference`, `matching`, `package` and `recognition`.
"""

from typing import TYPE_CHECKING, Any

from partsight.runtime.calibration.answers import VariedAnswers, answer_by_agreement, answer_by_matches, answer_by_score
from partsight.runtime.calibration.candidates import (
    Ranks,
    rank_by_score,
    with_candidates,
    with_more_candidates,
)
from partsight.runtime.calibration.fit import MIN_KEPT, Tolerances, ToleranceSeries, fit_table, measure_fit
from partsight.runtime.calibration.intervals import RateInterval, wilson
from partsight.runtime.calibration.rule_fit import rule_for
from partsight.runtime.calibration.setup_check import MAX_FRAMES, MIN_FRAMES, SetupCheck, find_misfit
from partsight.runtime.calibration.thresholds import RejectCurve, choose_threshold, false_accept, false_reject
from partsight.runtime.calibration.variation import Variation, vary

if TYPE_CHECKING:
    from partsight.runtime.calibration.commissioning import Commissioned, commission, undo_commissioning

__all__ = [
    "MAX_FRAMES",
    "MIN_FRAMES",
    "MIN_KEPT",
    "Commissioned",
    "Ranks",
    "RateInterval",
    "RejectCurve",
    "SetupCheck",
    "ToleranceSeries",
    "Tolerances",
    "Variation",
    "VariedAnswers",
    "answer_by_agreement",
    "answer_by_matches",
    "answer_by_score",
    "choose_threshold",
    "commission",
    "false_accept",
    "false_reject",
    "find_misfit",
    "fit_table",
    "measure_fit",
    "rank_by_score",
    "rule_for",
    "undo_commissioning",
    "vary",
    "wilson",
    "with_candidates",
    "with_more_candidates",
]

_OF_COMMISSIONING = ("Commissioned", "commission", "undo_commissioning")


def __getattr__(name: str) -> Any:
    """Return a name of `commissioning`, which a line does without: so its start need not wait for that import."""
    if name in _OF_COMMISSIONING:
        from partsight.runtime.calibration import commissioning  # noqa: PLC0415

        return getattr(commissioning, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
