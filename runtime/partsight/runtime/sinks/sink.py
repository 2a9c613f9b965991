"""The protocol of every sink."""

from collections.abc import Callable, Sequence
from typing import Protocol, Self

from partsight.runtime.sinks.record import FrameEvent

CheckLine = Callable[[Sequence[str], Sequence[str]], list[str]]
"""Function of labels and names of cameras; see `Sink`."""


class Sink(Protocol):
    """Takes results. Used as a context manager, by one thread at a time.

    A sink may have five more attributes. Another thread than that of `write` reads and calls them.

    Attributes:
        keeps_pictures: True for a sink that needs the frames, not only the records.
        may_lose: True for a sink that shows the last result or keeps pictures. The line makes a few attempts to write a
            result, one while the sink refuses all, then counts it as lost. If too many results wait, the oldest are
            lost. For any other sink the line waits until it takes the result.
        wants: Function of a record that returns whether the sink needs its result at all.
        check_line: Function of the package's labels and the cameras' names; the line calls it before it starts and
            before each swap. It returns a sentence for each difference between the sink's settings and these, which
            the line logs. It raises SinkError where the sink would be of no use: the line does not start then, or
            refuses the swap.
        undelivered: Number of results that the sink keeps because its peer has not acknowledged them; also readable
            once the sink is closed.
    """

    def write(self, event: FrameEvent) -> None:
        """Write a result. When this returns, the result is safe: a crash of the program right after loses nothing.

        Raises:
            ResultRefusedError: the sink will never take this result and wrote nothing of it; it may take the next.
            SinkGoneError: the sink will take nothing any more.
            SinkError: the sink could not take the result and wrote nothing of it; it may take it later.
        """

    def close(self) -> None:
        """Finish the results already written, within seconds, and release all resources. May be called twice."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...
