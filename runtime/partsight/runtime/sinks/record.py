"""The record that partsight publishes of one frame. Its JSON is a contract with everyone who reads it."""

import math
import re
import zlib
from dataclasses import astuple, dataclass
from datetime import UTC, datetime
from typing import Annotated, Literal

import msgspec

from partsight.runtime.cameras import Frame
from partsight.runtime.recognition import PartPose, Reason, Recognizer, Result, Stages

RECORD_VERSION = 1
"""Rises when a field goes or changes its meaning. New fields come under the same version: readers skip unknown ones."""

Outcome = Literal["recognised", "unknown", "failed"]


class Candidate(msgspec.Struct, frozen=True):
    """A part that a frame was compared with, and its score; None for one that is no number."""

    label: str
    score: float | None


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """Outcome of one frame, and its answer.

    Attributes:
        schema_version: Version of this form; a reader refuses one that it does not know.
        outcome: `recognised` with a label, `unknown` without, `failed` with an error.
        camera: The camera's name on this line.
        source: Origin of the frame: a file's path, or a camera's address.
        sequence: Number of the frame at its camera, from 0. Together with `camera` and `run` it is unique for ever.
        run: Id of this run of the line: it distinguishes sequences that start again at 0.
        timestamp: Time when the frame came, in seconds since 1970 (UTC).
        package_id: Id of the package that answered; empty where none did.
        signed_by: Ids of the trusted keys that signed the package, separated by spaces; empty where no signature is
            required.
        label: The part; None if it is unknown, or where `error` is set.
        score, margin: See `Answer`; None for a value that is no number, or where `error` is set.
        top: The best candidates, best first.
        latency_ms: Milliseconds from the frame's arrival to its answer.
        error: Reason why there is no answer; empty if there is one.
        reason, threshold, least_margin, pose, reference: See `Answer`; None as for `score`, and in records of an
            earlier partsight.
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
    reason: Reason | None = None
    threshold: float | None = None
    least_margin: float | None = None
    pose: PartPose | None = None
    reference: int | None = None

    def __post_init__(self) -> None:
        """Make texts from outside writable: a file name on Linux need not be UTF-8."""
        for name in ("camera", "source", "run", "error"):
            text = getattr(self, name)
            if not text.isascii():
                msgspec.structs.force_setattr(self, name, text.encode("utf-8", "backslashreplace").decode())

    @property
    def name(self) -> str:
        """Unique name that people can read and that sorts by time. Kept pictures have it as their file name."""
        time = datetime.fromtimestamp(self.timestamp, UTC).strftime("%Y%m%dT%H%M%S%fZ")
        camera = re.sub(r"[^A-Za-z0-9-]", "-", self.camera)[:40]
        return f"{time}_{camera}_{self.sequence}_{self.key:08x}"

    @property
    def key(self) -> int:
        """32 bits that depend on all that makes a frame unique."""
        return zlib.crc32(f"{self.run}\n{self.camera}\n{self.sequence}".encode())

    def to_json(self) -> bytes:
        """Return one line of JSON in UTF-8, without its end."""
        return msgspec.json.encode(self)


class KeptRecord(Record, frozen=True, kw_only=True):
    """Record of a frame whose picture is kept.

    Attributes:
        stands_for: Number of the line's frames for which this one stands: 1 if all such frames are kept, N if one in N.
            0 if the sink keeps only refused and close frames: they are no sample of the line.
    """

    stands_for: Annotated[int, msgspec.Meta(ge=0)] = 0


@dataclass(frozen=True)
class FrameEvent:
    """A record, and the data for sinks and listeners that is not in it.

    Attributes:
        record: Outcome of the frame, and its answer.
        frame: The frame, for sinks that keep pictures; None where there was none.
        stages: Milliseconds that its answer spent in each stage; None where it has no answer.
    """

    record: Record
    frame: Frame | None = None
    stages: Stages | None = None


def record_answer(
    frame: Frame, camera: str, run: str, recognizer: Recognizer, result: Result, latency_ms: float
) -> FrameEvent:
    """Return the event of a frame that a recogniser answered.

    Args:
        frame: The frame.
        camera: The camera's name on the line.
        run: Id of the line's run.
        recognizer: The recogniser that answered.
        result: Its answer.
        latency_ms: Milliseconds from the frame's arrival to its answer.
    """
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
        reason=result.reason,
        threshold=_number(result.threshold),
        least_margin=_number(result.least_margin),
        pose=result.pose if result.pose and all(map(math.isfinite, astuple(result.pose))) else None,
        reference=result.reference,
    )
    return FrameEvent(record, frame, result.stages)


def _number(value: float) -> float | None:
    """Return None for infinity and NaN, for which JSON has no number."""
    return value if abs(value) < float("inf") else None
