"""A line without cameras: tests publish results to its listeners, and set its clock."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

from partsight.runtime import Pixels, Recognizer
from partsight.runtime.cameras import Frame
from partsight.runtime.line import CameraCounters, Line, LineCounters
from partsight.runtime.recognition import PartPose
from partsight.runtime.sinks import FrameEvent, Record
from partsight.runtime.sinks.record import Candidate

STRAIGHT = PartPose(0.0, 0.0, 0.0, 0.0, 0.0)


@dataclass
class FakeLine:
    """Stands for a line. `now` is the time of all its clocks, in seconds."""

    recognizer: Recognizer
    cameras: dict[str, CameraCounters] = field(default_factory=lambda: {"left": CameraCounters()})
    now: float = 1_800_000_000.0
    is_running: bool = True
    listeners: list[Callable[[FrameEvent], None]] = field(default_factory=list)
    sequence: int = -1

    @property
    def as_line(self) -> Line:
        return cast("Line", self)

    @property
    def package_id(self) -> str:
        return self.recognizer.package_id if self.recognizer else ""

    def clock(self) -> float:
        return self.now

    def listen(self, listener: Callable[[FrameEvent], None]) -> Callable[[], None]:
        self.listeners.append(listener)
        return lambda: None

    def states(self) -> dict[str, str]:
        return dict.fromkeys(self.cameras, "open" if self.is_running else "ended")

    def counters(self) -> LineCounters:
        return LineCounters(cameras=dict(self.cameras))

    def publish(
        self, image: Pixels | None = None, outcome: str = "recognised", camera: str = "left", **fields: Any
    ) -> Record:
        """Publish a result; without an image it failed, as a frame that cannot be read."""
        self.sequence += 1
        record = Record(
            **{
                "outcome": outcome,
                "camera": camera,
                "source": "belt",
                "sequence": self.sequence,
                "run": "run",
                "timestamp": self.now,
                "package_id": self.recognizer.package_id,
                "label": "red" if outcome == "recognised" else None,
                "score": 0.8,
                "threshold": 0.5,
                "top": (Candidate("red", 0.8), Candidate("blue", 0.1)),
                "pose": STRAIGHT,
                "reason": "recognised" if outcome == "recognised" else "agrees_with_none",
                "latency_ms": 20.0,
                **fields,
            }
        )
        frame = None if image is None else Frame(image, "belt", self.sequence, self.now)
        for listener in self.listeners:
            listener(FrameEvent(record, frame))
        return record
