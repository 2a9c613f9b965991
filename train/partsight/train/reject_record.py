"""What calibrating the reject threshold leaves in a run's record."""

import msgspec

from partsight.runtime.calibration import RejectCurve
from partsight.runtime.matching import MatchingSpec
from partsight.runtime.package import Decision, Share


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """When a part counts as unknown, by the network alone and by comparison with golden images.

    Attributes:
        decision: on the network's score.
        curve: of it.
        matching: how frames are compared with golden images.
        matched_decision: on the agreement.
        matched_curve: of it.
        expected_right, expected_wrong: share of varied golden images that are given their own label, or another's; the
            rest is answered unknown.
    """

    decision: Decision
    curve: RejectCurve
    matching: MatchingSpec
    matched_decision: Decision
    matched_curve: RejectCurve
    expected_right: Share
    expected_wrong: Share
