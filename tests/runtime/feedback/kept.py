"""A folder of kept frames, as the line's sink writes it."""

from collections.abc import Sequence
from pathlib import Path

from partsight.runtime.feedback import KeptFrame, read_feedback
from partsight.runtime.sinks import open_sink
from partsight.runtime.sinks.record import Candidate
from tests.runtime.sinks.kinds import event


def keep(folder: Path, *answers: str | None, query: str = "?every=1", start: int = 0) -> list[KeptFrame]:
    """Keep a frame for each answer: a label, or None for an unknown one whose best candidate is M8x40.

    Their sequences are 0, 1, ...; the second candidate is always M8x41.
    """
    with open_sink(f"images:{folder}{query}") as sink:
        for sequence, label in enumerate(answers, start):
            sink.write(event(sequence, label))
    return list(read_feedback(folder).frames)


def keep_candidates(folder: Path, sequence: int, label: str | None, candidates: Sequence[str]) -> None:
    """Keep a frame with these candidates, best first."""
    top = tuple(Candidate(name, 0.9 - 0.1 * place) for place, name in enumerate(candidates))
    with open_sink(f"images:{folder}?every=1") as sink:
        sink.write(event(sequence, label, top=top))


def sequences(frames: Sequence[KeptFrame]) -> list[int]:
    return [frame.record.sequence for frame in frames if frame.record]
