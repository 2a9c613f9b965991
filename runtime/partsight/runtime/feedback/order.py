"""The order in which a person looks at open frames: by part, the most doubtful first."""

import math
from collections import defaultdict
from collections.abc import Iterable

from partsight.runtime.feedback.frame import KeptFrame


def review_order(frames: Iterable[KeptFrame]) -> tuple[KeptFrame, ...]:
    """Return frames with those of one answer in a row, so that a person compares them with one golden image.

    The nearer a frame is to the other decision, accepted or refused, the more doubtful it is. Answers come by their
    most doubtful frame; frames without candidates come last.
    """
    groups: dict[str, list[KeptFrame]] = defaultdict(list)
    for frame in sorted(frames, key=lambda frame: (_distance(frame), frame.name)):
        groups[frame.answer or ""].append(frame)
    without = groups.pop("", [])  # a dictionary keeps the order in which its keys came
    return (*(frame for group in groups.values() for frame in group), *without)


def _distance(frame: KeptFrame) -> float:
    """Return how far score and margin are from the other decision, on the scale of the scores."""
    record = frame.record
    if record is None or record.score is None:
        return math.inf
    above = record.score - (record.threshold or 0.0)
    apart = math.inf if record.margin is None else record.margin - (record.least_margin or 0.0)
    if record.outcome == "recognised":
        return min(above, apart)
    return max(0.0, -apart if record.reason == "two_parts_fit" else -above)
