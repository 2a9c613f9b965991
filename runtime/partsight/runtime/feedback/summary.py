"""What people said of a folder's frames, by part."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from partsight.runtime.feedback.frame import KeptFrame, Verdict

_LEAST_CORRECTED = 3
_LEAST_SHARE = 1 / 3


@dataclass(frozen=True)
class PartFeedback:
    """Decisions that concern a part.

    Attributes:
        label: The part.
        confirmed: Frames that show it, and that the line took for it.
        corrected_to: Frames that show it, and that the line took for another part.
        corrected_from: Frames that the line took for it, and that show another part or none.
        discarded: Frames of no use that the line took for it.
        refused: Of the frames that show it, those that the line answered unknown.
    """

    label: str
    confirmed: int = 0
    corrected_to: int = 0
    corrected_from: int = 0
    discarded: int = 0
    refused: int = 0

    @property
    def corrected(self) -> int:
        """Frames that a person corrected."""
        return self.corrected_to + self.corrected_from

    @property
    def is_often_corrected(self) -> bool:
        """Whether at least 3 frames, and a third of all decided ones, are corrected."""
        return self.corrected >= max(_LEAST_CORRECTED, _LEAST_SHARE * (self.confirmed + self.corrected))


@dataclass(frozen=True)
class Mistake:
    """Frames that the line took for one part and that show another.

    Attributes:
        taken_for: Part that the line named first.
        shows: Part that the frames show; None for parts that are not taught.
        frames: Number of frames.
        accepted: Of these, the ones to which the line gave the wrong label.
    """

    taken_for: str
    shows: str | None
    frames: int
    accepted: int


@dataclass(frozen=True)
class FeedbackSummary:
    """Decisions about a folder's frames.

    Attributes:
        counts: Frames of each decision.
        corrected: Of the confirmed ones and those that are not taught, the ones that contradict the line.
        parts: Decisions by part, the most corrected first, then by label.
        mistakes: Parts that were mistaken for each other, the most frequent first.
    """

    counts: dict[Verdict, int]
    corrected: int
    parts: tuple[PartFeedback, ...]
    mistakes: tuple[Mistake, ...]

    @property
    def often_corrected(self) -> tuple[PartFeedback, ...]:
        """Parts with many corrections."""
        return tuple(part for part in self.parts if part.is_often_corrected)


def summarize(frames: Iterable[KeptFrame]) -> FeedbackSummary:
    """Return what people said of frames, by part."""
    verdicts = Counter[Verdict]()
    parts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    mistakes: defaultdict[tuple[str, str | None], list[bool]] = defaultdict(list)
    corrected = 0
    for frame in frames:
        verdicts[frame.verdict] += 1
        corrected += frame.is_corrected
        _count(frame, parts)
        if frame.is_corrected and frame.answer is not None:
            mistakes[frame.answer, frame.label].append(not frame.is_refused)
    return FeedbackSummary(
        counts={verdict: verdicts[verdict] for verdict in ("open", "confirmed", "not_taught", "discarded")},
        corrected=corrected,
        parts=_by_corrections(PartFeedback(label, **counts) for label, counts in parts.items()),
        mistakes=tuple(
            Mistake(taken_for, shows, len(accepted), sum(accepted))
            for (taken_for, shows), accepted in sorted(mistakes.items(), key=lambda item: (-len(item[1]), item[0][0]))
        ),
    )


def _count(frame: KeptFrame, parts: defaultdict[str, Counter[str]]) -> None:
    """Add a frame to the counts of the part that it shows and of the part for which the line took it."""
    if frame.label is not None:
        parts[frame.label]["corrected_to" if frame.is_corrected else "confirmed"] += 1
        parts[frame.label]["refused"] += frame.is_refused
    if frame.answer is not None and (frame.is_corrected or frame.verdict == "discarded"):
        parts[frame.answer]["corrected_from" if frame.is_corrected else "discarded"] += 1


def _by_corrections(parts: Iterable[PartFeedback]) -> tuple[PartFeedback, ...]:
    return tuple(sorted(parts, key=lambda part: (-part.corrected, part.label)))
