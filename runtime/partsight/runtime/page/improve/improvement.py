"""What people said of frames since the package was last fitted: the material of the next commissioning or enrolment."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from partsight.runtime.core import normalized
from partsight.runtime.feedback import FeedbackSummary, KeptFrame, summarize

MAX_IMAGES = 5
"""Most images of a new part: its golden image, and further references."""

MIN_FRAMES = 20
"""Least number of frames for a commissioning."""

MAX_OPEN = 0.1
"""Share of frames without a decision among those shown, above which the others are no fair sample of the line."""


@dataclass(frozen=True)
class Improvement:
    """Decisions of people, and what they are good for.

    Attributes:
        summary: All decisions.
        frames, parts: Number of frames of which a person said what they show, and of the parts among them.
        waiting: Of these frames, the ones that were decided after the package was last fitted.
        fair: Of these frames, the ones that are a fair sample of the line: the sink kept them by chance.
        new_parts: Number of confirmed frames of each part that the package does not have, by label.
        shown: Number of frames up to the newest one with a decision: later ones came after people last decided.
        skipped: Of these frames, the ones without a decision.
        open_refused: Number of frames without a decision that the line refused.
    """

    summary: FeedbackSummary
    frames: int = 0
    parts: int = 0
    waiting: int = 0
    fair: int = 0
    new_parts: Mapping[str, int] = field(default_factory=dict)
    shown: int = 0
    skipped: int = 0
    open_refused: int = 0

    @property
    def open(self) -> int:
        """Number of frames without a decision."""
        return self.summary.counts["open"]

    @property
    def is_half_reviewed(self) -> bool:
        """Whether too many frames have no decision: then rates of the others say little of the line."""
        return self.skipped > MAX_OPEN * self.shown


def read_improvement(frames: Iterable[KeptFrame], labels: Iterable[str], fitted: float) -> Improvement:
    """Return what people said of frames.

    Args:
        frames: Frames that the line kept, by time.
        labels: Labels of the package that answers.
        fitted: Time at which this package was last fitted to frames, in seconds since 1970; 0 if never.
    """
    frames = tuple(frames)
    said = [frame for frame in frames if frame.verdict in ("confirmed", "not_taught")]
    newest = max((frame.name for frame in frames if frame.verdict != "open"), default="")
    shown = [frame for frame in frames if frame.name <= newest]
    return Improvement(
        summary=summarize(frames),
        frames=len(said),
        parts=len({normalized(frame.label) for frame in said if frame.label}),
        waiting=sum(_decided(frame) > fitted for frame in said),
        fair=sum(frame.stands_for > 0 for frame in said),
        new_parts={label: len(found) for label, found in find_new_parts(said, labels).items()},
        shown=len(shown),
        skipped=sum(frame.verdict == "open" for frame in shown),
        open_refused=sum(frame.verdict == "open" and frame.is_refused for frame in frames),
    )


def find_new_parts(frames: Iterable[KeptFrame], labels: Iterable[str]) -> dict[str, list[KeptFrame]]:
    """Return the confirmed frames of parts that a package does not have, by label, the oldest first.

    Args:
        frames: Frames, by time.
        labels: Labels of the package.
    """
    known = {normalized(label) for label in labels}
    found: dict[str, list[KeptFrame]] = defaultdict(list)
    for frame in frames:
        if frame.verdict == "confirmed" and frame.label and normalized(frame.label) not in known:
            found[frame.label].append(frame)
    return dict(found)


def _decided(frame: KeptFrame) -> float:
    """Return when a person decided: a decision writes the record anew. Infinite if the frame has moved meanwhile."""
    try:
        path = frame.path.with_suffix(".json") if frame.record else frame.path
        return path.stat().st_mtime
    except OSError:
        return float("inf")
