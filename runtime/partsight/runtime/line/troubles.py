"""Troubles of a line that metrics and page report alike."""

from partsight.runtime.line.line import Line

_WELL = frozenset({"open", "ended"})


def troubled_cameras(line: Line) -> dict[str, str]:
    """Return the state of each camera that neither is open nor has ended, by its name."""
    return {name: state for name, state in line.states().items() if state not in _WELL}
