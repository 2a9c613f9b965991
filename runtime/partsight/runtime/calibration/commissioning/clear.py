"""Clear frames: frames that nobody confirmed, whose part is beyond doubt.

Agreement, margin and network must name the same part. Frames that the package refuses are among them, if the margin is
large: else the frames would only repeat the threshold. Unclear frames are left out, so no share of refused frames
follows from the others.
"""

from dataclasses import replace

import numpy as np

from partsight.runtime.calibration.commissioning.line_answers import UNKNOWN, LineAnswers, SeenFrames
from partsight.runtime.matching import Rule

_MIN_AGREEMENT = 0.6  # of the agreement that the frame needs for a label
_MIN_MARGIN = 4.0  # times the least margin


def keep_clear(seen: SeenFrames, answers: LineAnswers, rule: Rule, labels: tuple[str, ...]) -> SeenFrames:
    """Name the part of each clear frame that nobody named, and leave out the unclear ones.

    Args:
        seen: Frames.
        answers: Answers to them.
        rule: Rule of the package.
        labels: Labels of the package.
    """
    matches, spec = answers.taught, answers.spec
    agrees = matches.agreement[:, 0] >= _MIN_AGREEMENT * matches.needed(rule)
    leads = (matches.margin >= _MIN_MARGIN * matches.least_margin(spec)) & (matches.lead > 0)
    is_open = seen.is_open
    kept = ~is_open | (agrees & leads)
    named = seen.of_frames(kept)
    best = np.where(named.is_open, matches.classes[kept, 0], named.classes)
    frames = tuple(
        replace(frame, label=labels[part], group=labels[part]) if frame.is_open and part != UNKNOWN else frame
        for frame, part in zip(named.frames, best.tolist(), strict=True)
    )
    return replace(named, frames=frames, classes=best.astype(np.intp))
