"""The interface of every camera: frames, options, and `read`."""

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
        image: Picture, (height, width, 3) uint8 BGR or (height, width) uint8; contiguous, and nobody else writes to it.
        source: Origin: a file's path, or a camera's address.
        sequence: Number of the frame at its camera, from 0; a gap stands for frames that were lost or unreadable.
        timestamp: Time of arrival, seconds since 1970 (UTC).
    """

    image: Pixels
    source: str
    sequence: int
    timestamp: float


@dataclass(frozen=True)
class CameraOptions:
    """Settings of a camera; None leaves a setting as it is. An option that a camera cannot set is an error.

    Attributes:
        exposure_us: Exposure time, in microseconds.
        gain_db: Amplification, in decibels.
        region: Part of the sensor to read: x, y, width and height in its pixels.
        trigger: Signal that starts an exposure: `free` for the camera's own clock, `hardware` for its input line,
            `software` for each call of `read`.
        fps: Frames a second of a camera that runs freely, or of files.
        timeout_s: Longest wait of `read` for a frame, in seconds.
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
            camera: Address of the camera, for the error.
            supported: Names of the options that it can set, without `timeout_s`.

        Raises:
            CameraError: an option is set that is not among them.
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
    """A source of frames, open from its creation on. It is a context manager, and never invents a frame.

    A camera may have two attributes. `source` is the origin of the frame that `read` tried last, as in `Frame.source`;
    it names a frame that `read` could not read. `ends` is true for a camera that comes to an end and whose frames can
    wait, such as files: a line then loses none of them unless its policy says so.
    """

    def read(self) -> Frame | None:
        """Return the next frame, or None when there will be no more.

        Raises:
            CameraTimeoutError: no frame came in time; the next call waits again.
            PartialFrameError: the frame is incomplete; the next call goes on with the next frame.
            CameraLostError: the camera is gone; close it and open it again.
            PartsightError: this frame is unreadable; the next call goes on with the next frame.
        """

    def close(self) -> None:
        """Release the device; a `read` in another thread ends with CameraLostError or None. May be called twice."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...
