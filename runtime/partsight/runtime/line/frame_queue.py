"""The frame queue: frames that wait for the network, and the policy for a frame that cannot wait."""

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
"""Ordered by how long a frame can wait: shortest first."""

_SMALLER = 16  # divides a batch of frames that can wait, while cameras are open whose frames cannot

Value = TypeVar("Value")


@dataclass(frozen=True)
class Policy:
    """Treatment of a camera's frame while the network is busy.

    Attributes:
        name: `latest`: the frame replaces the one that waits, so that an answer is never about the past. `queue`: the
            frame waits; the line skips it if `bound` frames of its camera wait already. `block`: the camera waits, for
            sources that lose nothing, such as files.
        bound: Largest number of waiting frames of one camera; 1 for `latest`.
    """

    name: PolicyName = "latest"
    bound: int = 1

    def __post_init__(self) -> None:
        if self.name not in POLICIES:
            raise ValueError(f"policy {self.name!r} is not known; expected {', '.join(POLICIES)}")
        if self.bound < 1 or (self.name == "latest" and self.bound != 1):
            raise ValueError(f"policy {self.name} has a bound of {self.bound}; expected at least 1, and 1 for latest")


def by_camera(
    name: str, kind: type, value: Value | Mapping[str, Value] | None, cameras: Collection[str]
) -> dict[str, Value]:
    """Return a setting by camera; one value holds for all cameras.

    Raises:
        ValueError: it names a camera that the line does not have.
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
    """A frame, its camera's name, and its time of arrival in seconds of `time.monotonic`."""

    camera: str
    frame: Frame
    arrived: float


@dataclass(frozen=True)
class UnreadableFrame:
    """A frame that a camera could not read.

    Attributes:
        camera: Name of the camera on this line.
        source: Origin of the frame: a file's path, or a camera's address or name.
        sequence: Number of the frame.
        error: Reason, in words.
        timestamp: Time of the failure, in seconds since 1970 (UTC).
    """

    camera: str
    source: str
    sequence: int
    error: str
    timestamp: float


class FrameQueue:
    """Holds the frames of several cameras, each under its own policy. Thread-safe.

    Under `latest` a newer frame replaces an older one here, and the queue counts it. A live camera has a slot of its
    own before this queue (`LatestCamera`). Its driver must be read even while the camera worker waits under `block`,
    and `read` must time out even if the driver hangs. Under `latest` the worker empties that slot in about 0.2 ms, and
    the gap in the camera's sequence counts the few frames that are replaced there.
    """

    def __init__(self, policies: Mapping[str, Policy | None], tally: Tally, bound: int = 1) -> None:
        """Take the cameras.

        Args:
            policies: Policy of each camera, by its name; None to let `opened` choose.
            tally: Counts of the line.
            bound: Largest number of waiting frames of a camera that ends and has no policy.
        """
        self._policies, self._tally, self._bound = dict(policies), tally, bound
        self._waiting: dict[str, deque[Arrival | UnreadableFrame]] = {name: deque() for name in policies}
        self._turns = deque(policies)
        self._groups = deque(POLICIES)
        self._open = set(policies)
        self._is_stopped = False
        self._changed = threading.Condition()

    @property
    def all_block(self) -> bool:
        """Whether every camera can wait, so that the line may wait too."""
        return all(self.policy(name).name == "block" for name in self._waiting)

    def policy(self, camera: str) -> Policy:
        """Return a camera's policy."""
        return self._policies[camera] or Policy()

    def opened(self, camera: str, *, ends: bool) -> None:
        """Choose the policy of a camera that has none: `block` for one that ends, as files do, else `latest`."""
        with self._changed:
            self._policies[camera] = self._policies[camera] or (Policy("block", self._bound) if ends else Policy())

    def offer(self, camera: str, frame: Frame) -> None:
        """Take a frame or skip one, as the camera's policy says; blocks only under `block`."""
        arrival = Arrival(camera, frame, time.monotonic())
        with self._changed:
            waiting, policy = self._waiting[camera], self.policy(camera)
            if policy.name == "block":
                self._wait_for_room(camera)
            frames = [index for index, item in enumerate(waiting) if isinstance(item, Arrival)]
            if len(frames) < policy.bound or policy.name == "block":  # at the line's end `block` exceeds its bound
                waiting.append(arrival)
                self._tally.add(camera, "waiting")
            else:
                if policy.name == "latest":
                    del waiting[frames[0]]
                    waiting.append(arrival)
                self._tally.add(camera, "skipped")
            self._changed.notify_all()

    def offer_unreadable(self, frame: UnreadableFrame) -> None:
        """Take a frame that could not be read, so that its record comes in order; blocks while too many wait."""
        with self._changed:
            self._wait_for_room(frame.camera)
            self._waiting[frame.camera].append(frame)
            self._tally.add(frame.camera, "waiting")
            self._changed.notify_all()

    def _wait_for_room(self, camera: str) -> None:
        waiting, bound = self._waiting[camera], self.policy(camera).bound
        self._changed.wait_for(lambda: len(waiting) < bound or self._is_stopped)

    def wait(self) -> bool:
        """Wait until a frame waits, or no more will come; return whether one waits."""
        with self._changed:
            self._changed.wait_for(lambda: not self._open or any(self._waiting.values()))
            return any(self._waiting.values())

    def wait_for_end(self, limit_s: float) -> None:
        """Wait until no frame waits and no more will come, but no longer than `limit_s`."""
        with self._changed:
            self._changed.wait_for(lambda: not self._open and not any(self._waiting.values()), limit_s)

    def take(self, limit: int) -> list[Arrival | UnreadableFrame]:
        """Return at most `limit` frames, all under one policy; an empty list if none waits.

        Policies take turns, and so do the cameras of each policy. A live frame waits for the end of the batch before
        it. So while a camera is open whose frames can wait less, a batch of those that can wait longer is a sixteenth.
        """
        with self._changed:
            names = self._next_group()
            if any(POLICIES.index(self.policy(name).name) < POLICIES.index(self._groups[-1]) for name in self._open):
                limit = max(1, limit // _SMALLER)
            taken: list[Arrival | UnreadableFrame] = []
            while len(taken) < limit and any(self._waiting[name] for name in names):
                name = self._turns[0]
                self._turns.rotate(-1)
                if name in names and self._waiting[name]:
                    taken.append(self._waiting[name].popleft())
            self._changed.notify_all()
            return taken

    def _next_group(self) -> set[str]:
        """Return the cameras under the policy whose turn it is, among the policies under which frames wait."""
        for _ in POLICIES:
            group = self._groups[0]
            self._groups.rotate(-1)
            names = {name for name in self._waiting if self.policy(name).name == group}
            if any(self._waiting[name] for name in names):
                return names
        return set()

    def end(self, camera: str) -> None:
        """Expect no more frames of a camera."""
        with self._changed:
            self._open.discard(camera)
            self._changed.notify_all()

    def stop(self) -> None:
        """Let no camera wait any longer; the line still answers the frames that wait."""
        with self._changed:
            self._is_stopped = True
            self._changed.notify_all()
