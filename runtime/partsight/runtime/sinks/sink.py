"""What every sink offers."""

from typing import Protocol, Self

from partsight.runtime.record import Told


class Sink(Protocol):
    """Takes results. Used as a context manager, by one thread at a time."""

    def write(self, told: Told) -> None:
        """Take a result. When this returns the result is kept: a crash of the program right after loses nothing.

        Raises:
            SinkError: it could not be taken; nothing of it was, and the next may be.
        """

    def close(self) -> None:
        """Finish what was taken, within seconds, and let go. May be called twice."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...
