"""What every camera offers."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Literal, Protocol, Self, get_args

import numpy as np

from partsight.runtime.core import CameraError, Pixels, is_number

Trigger = Literal["free", "hardware", "software"]


@dataclass(frozen=True)
class Frame:
    """A picture that a camera really delivered.

    Attributes:
        image: (height, width, 3) uint8 BGR, or (height, width) uint8; contiguous, and nobody else's.
        source: where it came from: a file's path, or a camera's address.
        sequence: counts what the camera was asked for or has sent, from 0; a gap is a frame that was lost or could not
            be read.
        timestamp: when it came, seconds since 1970 (UTC).
    """

    image: Pixels
    source: str
    sequence: int
    timestamp: float


@dataclass(frozen=True)
class CameraOptions:
    """What may be set at a camera; None for what it has. One that a camera cannot do is an error, never passed over.

    Attributes:
        exposure_us: time of exposure, in microseconds.
        gain_db: amplification, in decibels.
        region: x, y, width and height of the part of the sensor to read, in its pixels.
        trigger: what starts an exposure: `free` for the camera's own clock, `hardware` for its input line, `software`
            for each call of `read`.
        fps: frames a second of a camera that runs freely, or at which files are delivered.
        timeout_s: how long `read` waits for a frame.
    """

    exposure_us: float | None = None
    gain_db: float | None = None
    region: tuple[int, int, int, int] | None = None
    trigger: Trigger | None = None
    fps: float | None = None
    timeout_s: float = 3.0

    def __post_init__(self) -> None:
        numbers = {"exposure_us": self.exposure_us, "fps": self.fps, "timeout_s": self.timeout_s}
        settings = {name: value for name, value in numbers.items() if value is not None}
        wrong = [name for name, value in settings.items() if not (is_number(value) and value > 0)]
        wrong += ["region"] if self.region is not None and not _is_region(self.region) else []
        if wrong:
            raise CameraError(
                f"{', '.join(f'{name} is {getattr(self, name)!r}' for name in wrong)}; expected numbers above 0, and a "
                "region of x, y, width and height in pixels"
            )
        if self.trigger is not None and self.trigger not in get_args(Trigger):
            raise CameraError(f"trigger is {self.trigger!r}; expected {', '.join(get_args(Trigger))}")

    def check_supported(self, camera: str, supported: frozenset[str]) -> None:
        """Refuse options that a camera cannot set.

        Args:
            camera: its address.
            supported: names of the options that it can set, `timeout_s` aside.

        Raises:
            CameraError: one is set that it cannot.
        """
        asked = {field.name for field in fields(self) if getattr(self, field.name) is not None} - {"timeout_s"}
        unable = sorted(asked - supported)
        if unable:
            able = ", ".join(sorted(supported)) or "none"
            raise CameraError(f"camera {camera!r} cannot set {', '.join(unable)}; it can set: {able}")


def _is_region(region: Sequence[object]) -> bool:
    sides = [int(side) for side in region if isinstance(side, int | np.integer)]
    return len(sides) == len(region) == 4 and min(sides) >= 0 and min(sides[2:]) >= 1


class Camera(Protocol):
    """A source of frames, open from its creation on. Used as a context manager; never invents a frame.

    Two attributes may be there. `source`: where the frame comes from that was asked for last, as `Frame.source` says
    it; it names one that could not be read. `ends`: true for a camera that comes to an end and whose frames can wait,
    as files do; a line then loses none of them unless its policy says so.
    """

    def read(self) -> Frame | None:
        """Return the next frame, or None when there will be no more.

        Raises:
            CameraTimeoutError: no frame came in time; the next call waits again.
            PartialFrameError: it came incomplete; the next call goes on with the one after it.
            CameraLostError: the camera is gone; close it and open it again.
            PartsightError: this frame could not be read; the next call goes on with the one after it.
        """

    def close(self) -> None:
        """Let go of the device; a `read` in another thread ends with CameraLostError or None. May be called twice."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...
