"""Measures of the cameras over hours."""

from partsight.runtime.line import Health, Line


class HealthHistory:
    """Samples a line's health once a minute."""

    def __init__(self, line: Line, health: Health | None) -> None:
        """Take the line and its health."""

    def start(self) -> None:
        """Sample from now on."""

    def close(self) -> None:
        """Sample no more. May be called twice."""
