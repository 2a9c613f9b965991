"""What every sink offers."""

from typing import Protocol, Self

from partsight.runtime.record import Told


class Sink(Protocol):
    """Takes results. Used as a context manager, by one thread at a time.

    Three attributes may be there. `keeps_pictures`: true for a sink that is handed frames beside records. `may_lose`:
    true for one that shows the last result or keeps pictures: what it does not take in a few attempts is counted as
    lost, in one while it refuses them all, and so are the oldest of too many that wait; for any other sink the line
    waits until it takes the result. `wants`: a function of a record, called by another thread, which tells whether the
    sink is to be handed its result at all.
    """

    def write(self, told: Told) -> None:
        """Take a result. When this returns the result is kept: a crash of the program right after loses nothing.

        Raises:
            ResultRefusedError: this result will never be taken; nothing of it was, and the next may be.
            SinkGoneError: nothing will be taken any more.
            SinkError: it could not be taken; nothing of it was, and the same result may be taken later.
        """

    def close(self) -> None:
        """Finish what was taken, within seconds, and let go. May be called twice."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...
