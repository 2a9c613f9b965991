"""What every camera offers."""

from dataclasses import dataclass
from typing import Protocol, Self

from partsight.runtime.images import Pixels


@dataclass(frozen=True)
class Frame:
    """A picture that a camera really delivered.

    Attributes:
        image: (height, width, 3) uint8 BGR, or (height, width) uint8.
        source: where it came from: a file's path, or a camera's address.
        sequence: counts what the camera was asked for, from 0; a gap is a frame that could not be read.
        timestamp: when it was read, seconds since 1970 (UTC).
    """

    image: Pixels
    source: str
    sequence: int
    timestamp: float


class Camera(Protocol):
    """A source of frames. Used as a context manager; never invents a frame."""

    def read(self) -> Frame | None:
        """Return the next frame, or None when there will be no more.

        Raises:
            PartsightError: this frame could not be read; the next call goes on with the one after it.
        """

    def close(self) -> None:
        """Let go of the device."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...
