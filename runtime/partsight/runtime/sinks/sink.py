"""What every sink offers."""

from collections.abc import Callable, Sequence
from typing import Protocol, Self

from partsight.runtime.sinks.record import FrameEvent

CheckLine = Callable[[Sequence[str], Sequence[str]], list[str]]
"""Of labels and names of cameras; see `Sink`."""


class Sink(Protocol):
    """Takes results. Used as a context manager, by one thread at a time.

    Five attributes may be there. `keeps_pictures`: true for a sink that is handed frames beside records. `may_lose`:
    true for one that shows the last result or keeps pictures: what it does not take in a few attempts is counted as
    lost, in one while it refuses them all, and so are the oldest of too many that wait; for any other sink the line
    waits until it takes the result. `wants`: a function of a record, called by another thread, which tells whether the
    sink is to be handed its result at all. `check_line`: a function of the package's labels and the cameras' names,
    called by another thread before the line starts and before each swap. It returns in words how the sink's settings
    and these differ, which the line logs, and raises SinkError where the sink would be of no use on such a line: the
    line does not start then, and the swap is refused. `undelivered`: how many results the sink keeps for a peer that
    has not acknowledged them, also once it is closed.
    """

    def write(self, event: FrameEvent) -> None:
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
