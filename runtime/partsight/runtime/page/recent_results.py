"""The last results of each camera, with pictures that are encoded at most twice a second."""

from dataclasses import dataclass

from partsight.runtime.core import Pixels
from partsight.runtime.line import Line
from partsight.runtime.sinks import Record


@dataclass(frozen=True)
class RecentResult:
    """A result that the page shows.

    Attributes:
        record: Outcome of the frame, and its answer; `record.name` is its id in addresses.
        frame: The frame, (height, width, 3) uint8 BGR or (height, width) uint8; None where there was none.
    """

    record: Record
    frame: Pixels | None


class RecentResults:
    """Listens to a line."""

    def __init__(self, line: Line) -> None:
        """Listen from now on."""

    def find(self, name: str) -> RecentResult | None:
        """Return the result with this `record.name`; None if the page holds it no more."""

    def close(self) -> None:
        """End the thread that draws pictures. May be called twice."""
