"""The record: what is told to the world of one frame. Its JSON is a contract with whoever reads it."""

from dataclasses import dataclass
from typing import Literal

import msgspec

from partsight.runtime.cameras import Frame
from partsight.runtime.recognition import Recognizer, Result, Stages

RECORD_VERSION = 1

Outcome = Literal["recognised", "unknown", "failed"]


class Candidate(msgspec.Struct, frozen=True):
    """A part that a frame was compared with, and its score; None for one that is no number."""

    label: str
    score: float | None


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one frame.

    Attributes:
        schema_version: of this form; a reader refuses one that it does not know.
        outcome: `recognised` with a label, `unknown` without, `failed` with an error.
        camera: the camera's name on this line.
        source: where the frame came from: a file's path, or a camera's address.
        sequence: of the frame at its camera, from 0. With `camera` and `run` it names the frame for ever.
        run: names this run of the line, so that sequences that start again at 0 are told apart.
        timestamp: when the frame came, seconds since 1970 (UTC).
        package_id: of the package that answered; empty where none did.
        signed_by: ids of the trusted keys that had signed it, by spaces apart; empty where no signature was demanded.
        label: the part; None if it is unknown, or where `error` is set.
        score, margin: see `Answer`; None for a number that is none, or where `error` is set.
        top: the best candidates, best first.
        latency_ms: from the moment when the frame came to its answer.
        error: why there is no answer; empty if there is one.
    """

    schema_version: int = RECORD_VERSION
    outcome: Outcome
    camera: str
    source: str
    sequence: int
    run: str
    timestamp: float
    package_id: str = ""
    signed_by: str = ""
    label: str | None = None
    score: float | None = None
    margin: float | None = None
    top: tuple[Candidate, ...] = ()
    latency_ms: float | None = None
    error: str = ""

    def __post_init__(self) -> None:
        """Make texts of the world outside writable: a file name on Linux need not be UTF-8."""
        for name in ("camera", "source", "run", "error"):
            text = getattr(self, name)
            if not text.isascii():
                msgspec.structs.force_setattr(self, name, text.encode("utf-8", "backslashreplace").decode())

    def to_json(self) -> bytes:
        """Return one line of JSON in UTF-8, without its end."""
        return msgspec.json.encode(self)


@dataclass(frozen=True)
class FrameEvent:
    """A record, and what is not told to the world.

    Attributes:
        record: what became of the frame.
        frame: for sinks that keep pictures; None where there was none.
        stages: where its time went; None where it has no answer.
    """

    record: Record
    frame: Frame | None = None
    stages: Stages | None = None


def answered(
    frame: Frame, camera: str, run: str, recognizer: Recognizer, result: Result, latency_ms: float
) -> FrameEvent:
    """Return the record of a frame that a recogniser answered."""
    record = Record(
        outcome="recognised" if result.accepted else "unknown",
        camera=camera,
        source=frame.source,
        sequence=frame.sequence,
        run=run,
        timestamp=frame.timestamp,
        package_id=recognizer.package_id,
        signed_by=" ".join(recognizer.signed_by),
        label=result.label,
        score=_number(result.score),
        margin=_number(result.margin),
        top=tuple(Candidate(label, _number(score)) for label, score in result.top),
        latency_ms=round(latency_ms, 3),
    )
    return FrameEvent(record, frame, result.stages)


def _number(value: float) -> float | None:
    """Return None for what JSON has no number for."""
    return value if abs(value) < float("inf") else None
