"""The inbox: frames that wait for the network, and what happens to one that cannot wait."""

import threading
import time
from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar

from partsight.runtime.cameras import Frame
from partsight.runtime.core import is_number
from partsight.runtime.line.counters import Tally

PolicyName = Literal["latest", "queue", "block"]

POLICIES: tuple[PolicyName, ...] = ("latest", "queue", "block")
"""From the policy under which a frame can wait least to that under which it can wait longest."""

_SMALLER = 16  # times, a batch of frames that can wait, while cameras are open whose frames cannot

Value = TypeVar("Value")


@dataclass(frozen=True)
class Policy:
    """What happens to a camera's frame while the network is busy.

    Attributes:
        name: `latest`: it takes the place of the one that waits, so that an answer is never about the past. `queue`: it
            waits, and is skipped where `bound` frames of its camera wait already. `block`: the camera waits, for
            sources that lose nothing, such as files.
        bound: the most frames of one camera that wait; 1 for `latest`.
    """

    name: PolicyName = "latest"
    bound: int = 1

    def __post_init__(self) -> None:
        if self.name not in POLICIES:
            raise ValueError(f"policy {self.name!r} is not known; expected latest, queue or block")
        if self.bound < 1 or (self.name == "latest" and self.bound != 1):
            raise ValueError(f"policy {self.name} has a bound of {self.bound}; expected at least 1, and 1 for latest")


def by_camera(
    name: str, kind: type, value: Value | Mapping[str, Value] | None, cameras: Collection[str]
) -> dict[str, Value]:
    """Return a setting by camera: one value is that of all.

    Raises:
        ValueError: it names a camera that is not among them.
        TypeError: a value is not of this kind.
    """
    if value is None:
        return {}
    values = value if isinstance(value, Mapping) else dict.fromkeys(cameras, value)
    for camera, setting in values.items():
        if camera not in cameras:
            raise ValueError(f"{name} is set for camera {camera!r}; expected one of {', '.join(cameras)}")
        if not (is_number(setting) if kind is float else isinstance(setting, kind)):
            expected = "a number" if kind is float else f"{kind.__name__}(...)"
            raise TypeError(f"{name} of camera {camera!r} is {setting!r}; expected {expected}")
    return dict(values)


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


class FrameQueue:
    """Holds the frames of several cameras, each under its own policy. Thread-safe."""

    def __init__(self, policies: Mapping[str, Policy | None], tally: Tally, bound: int = 1) -> None:
        """Take the cameras.

        Args:
            policies: of each camera, by its name; None for what suits it, which `opened` finds.
            tally: of the line.
            bound: the most frames that wait of a camera that ends and has no policy yet.
        """
        self._policies, self._tally, self._bound = dict(policies), tally, bound
        self._waiting: dict[str, deque[Arrival | Failure]] = {name: deque() for name in policies}
        self._turns = deque(policies)
        self._groups = deque(POLICIES)
        self._open = set(policies)
        self._is_stopped = False
        self._changed = threading.Condition()

    @property
    def all_block(self) -> bool:
        """Whether each camera can wait, so that the line may, too."""
        return all(self.policy(name).name == "block" for name in self._waiting)

    def policy(self, camera: str) -> Policy:
        """Return what happens to a camera's frames."""
        return self._policies[camera] or Policy()

    def opened(self, camera: str, *, ends: bool) -> None:
        """Give a camera that has no policy one: `block` for one that ends, as files do, else `latest`."""
        with self._changed:
            self._policies[camera] = self._policies[camera] or (Policy("block", self._bound) if ends else Policy())

    def offer(self, camera: str, frame: Frame) -> None:
        """Take a frame, or skip one, as the camera's policy says; blocks only for `block`."""
        arrival = Arrival(camera, frame, time.monotonic())
        with self._changed:
            waiting, policy = self._waiting[camera], self.policy(camera)
            if policy.name == "block":
                self._wait_for_room(camera)
            frames = [place for place, item in enumerate(waiting) if isinstance(item, Arrival)]
            if len(frames) < policy.bound or policy.name == "block":  # it has room now, or the line ends: none is lost
                waiting.append(arrival)
                self._tally.add(camera, "waiting")
            else:
                if policy.name == "latest":
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
        waiting, bound = self._waiting[camera], self.policy(camera).bound
        self._changed.wait_for(lambda: len(waiting) < bound or self._is_stopped)

    def take(self, most: int) -> list[Arrival | Failure]:
        """Wait for frames and return up to `most`, all under one policy; none when no more will come.

        Policies take turns, and so do the cameras of each. While a camera is open whose frames can wait less, a batch
        of those that can wait longer is a sixteenth, since a live frame waits for the end of the batches before it.
        """
        with self._changed:
            self._changed.wait_for(lambda: not self._open or any(self._waiting.values()))
            names = self._next_group()
            if any(POLICIES.index(self.policy(name).name) < POLICIES.index(self._groups[-1]) for name in self._open):
                most = max(1, most // _SMALLER)
            taken: list[Arrival | Failure] = []
            while len(taken) < most and any(self._waiting[name] for name in names):
                name = self._turns[0]
                self._turns.rotate(-1)
                if name in names and self._waiting[name]:
                    taken.append(self._waiting[name].popleft())
            self._changed.notify_all()
            return taken

    def _next_group(self) -> set[str]:
        """Return the cameras under the policy whose turn it is: of those under which frames wait."""
        for _ in POLICIES:
            group = self._groups[0]
            self._groups.rotate(-1)
            names = {name for name in self._waiting if self.policy(name).name == group}
            if any(self._waiting[name] for name in names):
                return names
        return set()

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
