"""Counters of the shift."""

from collections.abc import Sequence

from partsight.runtime.line import Line


class ShiftCounters:
    """Counts of a line since the shift began."""

    def __init__(self, line: Line, starts: Sequence[int]) -> None:
        """Count from now on.

        Args:
            line: The line.
            starts: Minutes after midnight, local time, at which shifts begin.
        """
