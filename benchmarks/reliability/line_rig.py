"""Cameras and listeners for the line's benchmarks; their counts are independent of the line's."""

import os
import threading
import time
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from partsight.runtime.cameras import Frame
from partsight.runtime.core import Pixels
from partsight.runtime.sinks import FrameEvent


class PacedCamera:
    """Sends `count` frames at a fixed rate, as a real camera does: a newer frame replaces a waiting one."""

    def __init__(self, frames: Sequence[Pixels], fps: float, count: int) -> None:
        """Take the frames to send; the clock starts at the first call of `read`."""
        self._frames, self._fps, self.count = frames, fps, count
        self._next = 0
        self._closed = threading.Event()
        self._started: float | None = None

    def read(self) -> Frame | None:
        """Return the newest frame, or wait for the next one; None after the last."""
        if self._next == self.count or self._closed.is_set():
            return None
        self._started = self._started or time.perf_counter()
        newest = int((time.perf_counter() - self._started) * self._fps)
        sequence = min(max(self._next, newest), self.count - 1)
        wait_s = self._started + sequence / self._fps - time.perf_counter()
        if wait_s > 0:
            self._closed.wait(wait_s)
        self._next = sequence + 1
        return Frame(self._frames[sequence % len(self._frames)], "paced", sequence, time.time())

    def close(self) -> None:
        """End it."""
        self._closed.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass
class Answers:
    """Listener that records the answers of a line, in little memory, because the benchmark measures the line's memory.

    Attributes:
        cameras, sequences: Camera and sequence of each answer, in order.
        times: Time of each answer, by `time.perf_counter`.
        latencies_ms: Time from a frame's arrival to its answer.
        packages: Id of the package that gave each answer.
    """

    cameras: list[str] = field(default_factory=list)
    sequences: "array[int]" = field(default_factory=lambda: array("q"))
    times: "array[float]" = field(default_factory=lambda: array("d"))
    latencies_ms: "array[float]" = field(default_factory=lambda: array("d"))
    packages: list[str] = field(default_factory=list)

    @property
    def keys(self) -> list[tuple[str, int]]:
        """Camera and sequence of each answer."""
        return list(zip(self.cameras, self.sequences, strict=True))

    def __call__(self, event: FrameEvent) -> None:
        """Take an answer."""
        record = event.record
        self.cameras.append(record.camera)
        self.sequences.append(record.sequence)
        self.times.append(time.perf_counter())
        self.latencies_ms.append(record.latency_ms or 0.0)
        self.packages.append(record.package_id)


def memory_mb() -> float:
    """Return the resident memory of the process, in MB of 10^6 bytes; 0 if the system does not report it."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6 if statm.exists() else 0.0
