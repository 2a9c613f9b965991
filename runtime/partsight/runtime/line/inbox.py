"""The inbox: frames that wait for the network, and what happens to one that cannot wait."""

import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from partsight.runtime.cameras.camera import Frame
from partsight.runtime.line.counters import Tally

PolicyName = Literal["latest", "queue", "block"]


@dataclass(frozen=True)
class Policy:
    """What happens to a frame while the network is busy.

    Attributes:
        name: `latest`: it takes the place of the one that waits, so that an answer is never about the past. `queue`: it
            waits, and is skipped where `bound` frames of its camera wait already. `block`: the camera waits, for
            sources that lose nothing, such as files.
        bound: the most frames of one camera that wait; 1 for `latest`.
    """

    name: PolicyName = "latest"
    bound: int = 1

    def __post_init__(self) -> None:
        if self.name not in ("latest", "queue", "block"):
            raise ValueError(f"policy {self.name!r} is not known; expected latest, queue or block")
        if self.bound < 1 or (self.name == "latest" and self.bound != 1):
            raise ValueError(f"policy {self.name} has a bound of {self.bound}; expected at least 1, and 1 for latest")


@dataclass(frozen=True)
class Arrival:
    """A frame, its camera's name, and when it came, by `time.monotonic`."""

    camera: str
    frame: Frame
    arrived: float


@dataclass(frozen=True)
class Failure:
    """A frame that could not be read: where it should have come from, why, and when, in seconds since 1970 (UTC)."""

    camera: str
    source: str
    sequence: int
    error: str
    timestamp: float


class Inbox:
    """Holds the frames of several cameras. Thread-safe."""

    def __init__(self, cameras: Sequence[str], policy: Policy, tally: Tally) -> None:
        self._policy, self._tally = policy, tally
        self._waiting: dict[str, deque[Arrival | Failure]] = {name: deque() for name in cameras}
        self._turns = deque(cameras)
        self._open = set(cameras)
        self._is_stopped = False
        self._changed = threading.Condition()

    def offer(self, camera: str, frame: Frame) -> None:
        """Take a frame, or skip one, as the policy says; blocks only for `block`."""
        arrival = Arrival(camera, frame, time.monotonic())
        with self._changed:
            waiting = self._waiting[camera]
            if self._policy.name == "block":
                self._wait_for_room(camera)
            frames = [place for place, item in enumerate(waiting) if isinstance(item, Arrival)]
            if len(frames) < self._policy.bound:
                waiting.append(arrival)
                self._tally.add(camera, "waiting")
            else:
                if self._policy.name == "latest":
                    del waiting[frames[0]]
                    waiting.append(arrival)
                self._tally.add(camera, "skipped")
            self._changed.notify_all()

    def fail(self, failure: Failure) -> None:
        """Take word of a frame that could not be read, so that it is told in its turn; blocks while too many wait."""
        with self._changed:
            self._wait_for_room(failure.camera)
            self._waiting[failure.camera].append(failure)
            self._tally.add(failure.camera, "waiting")
            self._changed.notify_all()

    def _wait_for_room(self, camera: str) -> None:
        waiting = self._waiting[camera]
        self._changed.wait_for(lambda: len(waiting) < self._policy.bound or self._is_stopped)

    def take(self, most: int) -> list[Arrival | Failure]:
        """Wait for frames and return up to `most`, the cameras in turn; none when no more will come."""
        with self._changed:
            self._changed.wait_for(lambda: not self._open or any(self._waiting.values()))
            taken: list[Arrival | Failure] = []
            while len(taken) < most and any(self._waiting.values()):
                name = self._turns[0]
                self._turns.rotate(-1)
                if self._waiting[name]:
                    taken.append(self._waiting[name].popleft())
            self._changed.notify_all()
            return taken

    def end(self, camera: str) -> None:
        """Say that a camera will send no more."""
        with self._changed:
            self._open.discard(camera)
            self._changed.notify_all()

    def stop(self) -> None:
        """Let no camera wait any longer; what waits is still answered."""
        with self._changed:
            self._is_stopped = True
            self._changed.notify_all()
